"""The ComfyUI host in a process of ComfyUI: folders, memory, cancelling; the stand-in's schemas against real ones."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_models_are_found_in_every_path_and_nowhere_else(in_comfyui, models):
    answer = in_comfyui("""
        more = tmp / "more" / "a folder" / "gemma"
        more.mkdir(parents=True)
        (more / "config.json").write_text("{}")
        (more / "model.safetensors").write_bytes(b"")
        (tmp / "more" / "pickle.ckpt").write_bytes(b"")
        folder_paths.add_model_folder_path("text_encoders", str(tmp / "more"))
        folder_paths.folder_names_and_paths.pop("latent_upscale_models")
        (tmp / "models" / "latent_upscale_models").mkdir(parents=True)
        (tmp / "models" / "latent_upscale_models" / "own.safetensors").write_bytes(b"")
        (tmp / "outside.safetensors").write_bytes(b"")
        refused = []
        for bad in ("../../outside.safetensors", str(tmp / "outside.safetensors"), "none.safetensors", ""):
            try:
                host.model_path("text_encoders", bad)
            except pack("ltx2.errors").ModelFileError as error:
                refused.append(str(error))
        names = host.model_folders("text_encoders")
        answer = {
            "folders": names,
            "paths": [str(host.model_path("text_encoders", name)) for name in names],
            "files": host.model_files("text_encoders"),
            "upsamplers": host.model_files("latent_upscale_models"),
            "refused": refused,
        }
    """)
    (gemma,) = (folder.name for folder in (models / "text_encoders").iterdir())
    assert answer["folders"] == ["a folder/gemma", gemma]
    assert [Path(path).name for path in answer["paths"]] == ["gemma", gemma]
    assert all((Path(path) / "config.json").is_file() for path in answer["paths"])
    assert "pickle.ckpt" not in answer["files"]
    assert answer["upsamplers"] == ["own.safetensors"]
    assert len(answer["refused"]) == 4


def test_files_are_saved_below_the_output_folder(in_comfyui):
    answer = in_comfyui("""
        path, subfolder = host.save_path("a/%date:yyyy%_%width%x%height%", ".mp4", 64, 32)
        path.write_bytes(b"")
        again, _ = host.save_path("a/%date:yyyy%_%width%x%height%", ".mp4", 64, 32)
        try:
            host.save_path("../a", ".mp4", 64, 32)
            refused = None
        except pack("ltx2.errors").LTX2Error as error:
            refused = str(error)
        first, second = host.temp_file(".mp4"), host.temp_file(".mp4")
        import time
        answer = {
            "names": [path.name, again.name], "folder": str(path.parent), "subfolder": subfolder, "refused": refused,
            "output": folder_paths.get_output_directory(), "year": time.strftime("%Y"),
            "temp": first.parent.is_dir() and first != second and not first.exists(),
            "cache": str(host.cache_folder()), "user": folder_paths.get_user_directory(),
        }
    """)
    assert answer["names"] == [f"{answer['year']}_64x32_{number:05}_.mp4" for number in (1, 2)]
    assert Path(answer["folder"]) == Path(answer["output"]) / "a"
    assert answer["subfolder"] == "a"
    assert answer["refused"]
    assert answer["temp"]
    # ComfyUI's server hands out no folder of a user whose name starts so.
    assert Path(answer["cache"]) == Path(answer["user"]) / "__comfyui_ltx2"


def test_a_held_network_stays_mapped_and_goes_when_it_is_released(in_comfyui):
    answer = in_comfyui("""
        import comfy.model_management as management, gc, weakref
        checkpoint = next((models / "checkpoints").glob("*distilled*"))
        recipe = pack("ltx2.recipe").VideoVAERecipe.open(checkpoint)
        networks = pack("nodes.host.networks")
        with torch.inference_mode():
            (network,) = networks.borrow(recipe)
            before = [tensor.data_ptr() for tensor in network.state_dict().values()]
            networks.borrow(recipe)
        after = [tensor.data_ptr() for tensor in network.state_dict().values()]
        gone, loaded = weakref.ref(network), len(management.current_loaded_models)
        gc.disable()
        del network
        held = gone() is not None
        del recipe
        answer = {
            "unmoved": before == after, "loaded": loaded, "held": held, "freed": gone() is None,
            "left": len(management.current_loaded_models), "dtype": str(host.compute_dtype(host.device())),
        }
    """)
    assert answer == {
        "unmoved": True,
        "loaded": 1,
        "held": True,
        "freed": True,
        "left": 0,
        "dtype": "torch.float32",
    }


def test_weights_that_were_moved_come_home_to_the_file(in_comfyui):
    """The meta device plays the part of a GPU: ComfyUI moves weights there, and eviction copies nothing back."""
    answer = in_comfyui("""
        import comfy.model_management as management
        checkpoint = next((models / "checkpoints").glob("*distilled*"))
        network = pack("ltx2.recipe").TransformerRecipe.open(checkpoint).build()
        memory = pack("nodes.host.comfyui.memory")
        management.get_torch_device = lambda: torch.device("meta")
        management.load_models_gpu = lambda patchers, **_: [each.patch_model(each.load_device) for each in patchers]
        before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        with torch.inference_mode():
            held = memory.HeldNetwork(network)
            memory.load_together([held], 0)
        there = {tensor.device.type for tensor in network.state_dict().values()}
        held.release()
        after = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        answer = {"there": sorted(there), "home": before == after, "size": held.patcher.loaded_size()}
    """)
    assert answer == {"there": ["meta"], "home": True, "size": 0}


def test_cancelling_is_seen_at_every_step_and_bars_are_short(in_comfyui):
    answer = in_comfyui("""
        import comfy.model_management as management, comfy.utils
        sent = []
        comfy.utils.PROGRESS_BAR_HOOK = lambda value, total, preview, node_id=None: sent.append((value, total))
        with host.progress("sample") as on_step:
            for done in range(5001):
                on_step(done, 5000)
        caught = None
        try:
            with host.progress("sample") as on_step:
                on_step(0, 5000)
                management.interrupt_current_processing()
                on_step(1, 5000)
        except management.InterruptProcessingException:
            caught = management.processing_interrupted()
        answer = {"sent": sent, "caught": caught}
    """)
    assert answer["sent"][-2] == [300, 300]
    assert len(answer["sent"]) < 40
    assert answer["caught"] is False


@pytest.fixture(scope="module")
def stand_in(models, tmp_path_factory):
    """Our nodes as the headless host describes them."""
    name = "/elsewhere/custom_nodes/comfyui-ltx2"
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    host = importlib.import_module(f"{name}.nodes.host.headless.host")
    folders = [tmp_path_factory.mktemp(folder) for folder in ("input", "output")]
    with host.HeadlessHost(models, *folders, stream=io.StringIO()) as headless:
        importlib.import_module(f"{name}.nodes.host").use(headless)
        nodes = importlib.import_module(f"{name}.nodes").node_classes()
        return json.loads(json.dumps([node.GET_NODE_INFO_V1() for node in nodes]))


def test_the_stand_in_describes_our_nodes_as_comfyui_does(in_comfyui, stand_in):
    real = in_comfyui("answer = [node.GET_NODE_INFO_V1() for node in nodes]")
    assert [info["name"] for info in stand_in] == [info["name"] for info in real]
    for ours, theirs in zip(stand_in, real, strict=True):
        shared = set(ours) & set(theirs) - {"python_module"}
        assert {"input", "input_order", "output", "output_name", "description"} <= shared
        assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
