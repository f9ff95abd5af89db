"""Streamed blocks under ComfyUI: its memory management sees the rest alone, and all of it goes."""

from __future__ import annotations

import textwrap

import pytest

SAMPLE = """
import threading
from dataclasses import replace
checkpoint = next((models / "checkpoints").glob("*distilled*"))
gemma = next((models / "text_encoders").iterdir())
recipes, networks = pack("ltx2.recipe"), pack("nodes.host.networks")
placing, Placement = pack("nodes.placement").SetPlacement, pack("ltx2.placement").Placement
prompts, sampling = pack("nodes.prompts"), pack("nodes.sampling")
video = {"samples": torch.zeros(1, 128, 2, 2, 2), "ltx2": pack("ltx2.latents").Clip(24.0)}
audio = {"samples": torch.zeros(1, 8, 9, 16)}

def made(mode):
    transformer = recipes.TransformerRecipe.open(checkpoint)
    encoder = recipes.TextEncoderRecipe.open(gemma, checkpoint)
    if mode:
        transformer, encoder = placing.execute(mode, "all that is free", transformer, encoder).args
    with torch.inference_mode():
        (prompt,) = prompts.EncodePrompt.execute(text_encoder=encoder, text="A bell rings.", cache=False).args
        (guider,) = pack("nodes.guidance").MakeGuider.execute(transformer=transformer, positive=prompt).args
        sigmas = torch.tensor([1.0, 0.6, 0.0])
        return sampling.Sample.execute(guider, sigmas, "euler", 3, video, audio).args, (transformer, encoder)
"""


@pytest.mark.parametrize("mode", ["resident", "automatic", "streamed from RAM", "streamed from disk"])
def test_results_are_those_of_comfyuis_own_placement_and_nothing_stays(in_comfyui, mode):
    answer = in_comfyui(
        SAMPLE
        + textwrap.dedent(f"""
        import comfy.model_management as management, gc
        expected, held = made(None)
        found, held = made({mode!r})
        placed = networks.CACHE._residents["transformer"].placed
        seen = [set(each.model.model.state_dict()) for each in management.current_loaded_models]
        blocks = any(name.startswith(("blocks.", "gemma.model.layers.")) for names in seen for name in names)
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("LTX-2")]
        del placed
        gc.collect()
        gc.disable()
        del held
        answer = {{
            "same": all(torch.equal(a["samples"], b["samples"]) for a, b in zip(expected, found)),
            "blocks": blocks, "threads": threads, "left": len(management.current_loaded_models),
        }}
    """)
    )
    assert answer == {"same": True, "blocks": not mode.startswith("streamed"), "threads": [], "left": 0}


def test_only_the_rest_is_moved_to_the_device_and_comes_home(in_comfyui):
    """The meta device plays the part of a GPU, to which ComfyUI moves weights."""
    answer = in_comfyui("""
        import comfy.model_management as management
        from dataclasses import replace
        checkpoint = next((models / "checkpoints").glob("*distilled*"))
        recipe = pack("ltx2.recipe").TransformerRecipe.open(checkpoint)
        placing, memory = pack("nodes.host.placing"), pack("nodes.host.comfyui.memory")
        recipe = replace(recipe, placement=pack("ltx2.placement").Placement("streamed from disk"))
        placed = placing.place(recipe, 0, torch.device("cpu"), lambda done, total: None)
        management.get_torch_device = lambda: torch.device("meta")
        management.load_models_gpu = lambda patchers, **_: [each.patch_model(each.load_device) for each in patchers]
        network = placed.network
        before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        with torch.inference_mode():
            held = memory.HeldNetwork(placed.held)
            memory.load_together([held], 0)
        moved = {name.split(".")[0] for name, tensor in network.state_dict().items() if tensor.is_meta}
        stayed = {name.split(".")[0] for name, tensor in network.state_dict().items() if not tensor.is_meta}
        held.release()
        placed.release()
        answer = {
            "moved": sorted(moved), "stayed": sorted(stayed), "size": held.patcher.loaded_size(),
            "home": before == {name: tensor.data_ptr() for name, tensor in network.state_dict().items()},
        }
    """)
    assert answer == {"moved": ["audio", "video"], "stayed": ["blocks"], "size": 0, "home": True}


def test_free_ram_is_what_comfyui_knows_and_no_more_than_a_container_has(in_comfyui):
    ours, theirs, library = in_comfyui("""
        import comfy.model_management as management
        cpu = torch.device("cpu")
        answer = [host.free_ram(), management.get_free_memory(cpu), pack("ltx2.runtime.placement").free_ram()]
    """)
    assert 2**20 < ours < 2**50
    assert ours < 1.2 * min(theirs, library)
