"""Model files wherever the user told ComfyUI that they are: extra_model_paths.yaml, legacy names, sub-folders."""

from __future__ import annotations

FOLDERS = """
    from utils.extra_config import load_extra_path_config
    def put(folder, source, name):
        place = tmp / "elsewhere" / folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    checkpoint = next((models / "checkpoints").glob("*dev*"))
    put("unet", checkpoint, "ltx/old.safetensors")
    put("a/diffusion", checkpoint, "one.safetensors")
    put("b/diffusion", checkpoint, "deep/er/two.safetensors")
    put("clip", next((models / "text_encoders").iterdir()), "google/gemma")
    put("vaes", checkpoint, "vae.safetensors")
    put("up", next((models / "latent_upscale_models").glob("*spatial*x2*")), "ltx/up.safetensors")
    put("lora", next((models / "loras").glob("*distilled*")), "ltx/lora.sft")
    put("unet", checkpoint, "quantised.gguf")
    sections = {
        "mine": {"base_path": ".", "is_default": True, "unet": "unet", "clip": "clip", "vae": "vaes", "loras": "lora",
                 "latent_upscale_models": "up"},
        "theirs": {"base_path": str(tmp / "elsewhere"), "diffusion_models": "a/diffusion\\nb/diffusion\\n"},
    }
    (tmp / "elsewhere" / "paths.yaml").write_text(json.dumps(sections))  # which is YAML, too
    load_extra_path_config(str(tmp / "elsewhere" / "paths.yaml"))
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    def options(node_id, name):
        (given,) = (each for each in classes[node_id].GET_SCHEMA().inputs if each.id == name)
        return given.options
    def opened(node_id, **inputs):
        return repr(classes[node_id].execute(**inputs).args[0])
    found = options("LTX2_LoadTransformer", "file")
    new = [each for each in found if not (models / "checkpoints" / each).exists()]
"""


def test_files_are_found_wherever_comfyui_was_told_to_look(in_comfyui):
    answer = in_comfyui(
        FOLDERS
        + """
    answer = {
        "new": new,
        "transformers": [opened("LTX2_LoadTransformer", file=each) for each in new if not each.endswith(".gguf")],
        "gemma": "google/gemma" in options("LTX2_LoadTextEncoder", "text_encoder"),
        "text": opened("LTX2_LoadTextEncoder", text_encoder="google/gemma", checkpoint="ltx/old.safetensors"),
        "vae": opened("LTX2_LoadVideoVAE", file="vae.safetensors"),
        "up": opened("LTX2_LoadUpsampler", file=next(n for n in options("LTX2_LoadUpsampler", "file") if "ltx/" in n)),
        "lora": "ltx/lora.sft" in options("LTX2_Lora", "lora"),
    }
    """
    )
    assert answer["new"] == ["deep/er/two.safetensors", "ltx/old.safetensors", "one.safetensors", "quantised.gguf"]
    assert all(text.startswith("<LTX-2 transformer") for text in answer["transformers"])
    assert answer["gemma"]
    assert answer["text"].startswith("<LTX-2 text encoder")
    assert answer["vae"].startswith("<LTX-2 video VAE")
    assert answer["up"].startswith("<LTX-2 latent upsampler")
    assert answer["lora"]


def test_a_file_that_comes_or_goes_is_seen_at_once(in_comfyui):
    """Without a restart; and one that is gone is missed in words, as is one that lies in a folder for other things."""
    answer = in_comfyui(
        FOLDERS
        + """
    put("unet", checkpoint, "ltx/new.safetensors")
    came = "ltx/new.safetensors" in options("LTX2_LoadTransformer", "file")
    (tmp / "elsewhere" / "unet" / "ltx" / "new.safetensors").unlink()
    said = []
    for node_id, file in (("LoadTransformer", "ltx/new.safetensors"), ("LoadUpsampler", "ltx/old.safetensors")):
        try:
            classes["LTX2_" + node_id].execute(file=file)
        except pack("ltx2.errors").LTX2Error as error:
            said.append(str(error))
    answer = {"came": came, "went": "ltx/new.safetensors" not in options("LTX2_LoadTransformer", "file"), "said": said}
    """
    )
    assert answer["came"]
    assert answer["went"]
    missing, misplaced = answer["said"]
    assert missing.startswith("ltx/new.safetensors must be in models/diffusion_models or models/checkpoints; there are")
    assert misplaced.startswith("ltx/old.safetensors must be in models/latent_upscale_models; there are")
