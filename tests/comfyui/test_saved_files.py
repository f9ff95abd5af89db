"""Saved latents and prompts in the folders of a ComfyUI: listed, contained, and loaded by the nodes."""

from __future__ import annotations


def test_saved_files_are_those_of_the_input_and_output_folders(in_comfyui):
    answer = in_comfyui("""
        from pathlib import Path
        input, output = Path(folder_paths.get_input_directory()), Path(folder_paths.get_output_directory())
        for file in (input / "a.latents.safetensors", output / "sub" / "b.latents.safetensors", output / "c.mp4"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
        (tmp / "outside.latents.safetensors").write_bytes(b"")
        names = host.saved_files(".latents.safetensors")
        refused = []
        for bad in ("../outside.latents.safetensors", "../outside.latents.safetensors [output]", "none [output]", "/a"):
            try:
                host.saved_file(bad)
            except pack("ltx2.errors").LTX2Error as error:
                refused.append(str(error))
        answer = {
            "names": names,
            "paths": [str(host.saved_file(name).relative_to(folder)) for name, folder in zip(names, (input, output))],
            "refused": refused,
        }
    """)
    assert answer["names"] == ["a.latents.safetensors", "sub/b.latents.safetensors [output]"]
    assert answer["paths"] == ["a.latents.safetensors", "sub/b.latents.safetensors"]
    assert len(answer["refused"]) == 4


def test_the_nodes_save_and_load(in_comfyui):
    answer = in_comfyui("""
        import torch
        classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
        key = pack("ltx2.latents").Clip(24.0)
        video = {"samples": torch.rand(1, 128, 2, 2, 2), "ltx2": key}
        saved = classes["LTX2_SaveLatents"].execute(video=video, filename_prefix="kept/clip")
        (combo,) = (given for given in classes["LTX2_LoadLatents"].GET_SCHEMA().inputs if given.id == "file")
        loaded, nothing, _ = classes["LTX2_LoadLatents"].execute(file=combo.options[0]).args
        answer = {
            "told": saved.ui["files"],
            "options": combo.options,
            "same": torch.equal(loaded["samples"], video["samples"]) and nothing is None,
        }
    """)
    name = "clip_00001_.latents.safetensors"
    assert answer["told"] == [{"filename": name, "subfolder": "kept", "type": "output"}]
    assert answer["options"] == [f"kept/{name} [output]"]
    assert answer["same"]
