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


WALK = """
import comfy.samplers
from dataclasses import replace
from comfy_extras import nodes_custom_sampler as custom
checkpoint = next((models / "checkpoints").glob("*dev*"))
bridges, networks = pack("nodes.bridges"), pack("nodes.host.networks")
Context, Guider = pack("ltx2.sampling.denoiser").Context, pack("ltx2.sampling.guider").Guider
Block, Placement = pack("ltx2.networks.transformer.model").Block, pack("ltx2.placement").Placement
transformer = pack("ltx2.recipe").TransformerRecipe.open(checkpoint)
config, seeded = transformer.config, torch.Generator().manual_seed(1)
widths = config.cross_attention_dim, config.audio_cross_attention_dim
prompt = Context(*(torch.randn(1, 128, width, generator=seeded) for width in widths))
video, audio = pack("ltx2.latents").empty(pack("ltx2.geometry").Canvas(64, 64, 9, 24.0), 1)
left, forward = [0], Block.forward

def failing(self, *inputs, **options):
    if left[0] == 1:
        left[0] = 0
        raise torch.OutOfMemoryError("CUDA out of memory.")
    left[0] -= left[0] > 0
    return forward(self, *inputs, **options)

Block.forward = failing

def result(node, *inputs):
    output = node.execute(*inputs)
    return getattr(output, "result", None) or output.args

def walked(sampler, mode, fails_at):
    left[0] = fails_at
    placement = mode and Placement(mode)
    with torch.inference_mode():
        guider = Guider.of(replace(transformer, placement=placement), prompt)
        guider, latent = result(bridges.GuiderToComfyUI, guider, video, audio)
        sampler = comfy.samplers.sampler_object(sampler)
        sigmas, noise = torch.tensor([1.0, 0.9, 0.6, 0.3, 0.0]), custom.Noise_RandomNoise(7)
        made = result(custom.SamplerCustomAdvanced, noise, guider, sampler, sigmas, latent)[0]
    placed = networks.CACHE._residents["transformer"].placed.placement
    return made["samples"].unbind(), placed and placed.mode
"""


def test_comfyuis_samplers_begin_anew_where_memory_runs_out(in_comfyui):
    """In the middle of a run, which draws the same noise again."""
    answer = in_comfyui(
        WALK
        + textwrap.dedent("""
        answer = {}
        for sampler in ("euler", "euler_ancestral", "dpmpp_2m_sde", "uni_pc", "ddpm"):
            networks.CACHE.clear()
            expected, _ = walked(sampler, None, 0)
            found, mode = walked(sampler, "automatic", 6)
            same = all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
            answer[sampler] = [same, mode in ("streamed from RAM", "streamed from disk"), left[0]]
    """)
    )
    assert answer == dict.fromkeys(("euler", "euler_ancestral", "dpmpp_2m_sde", "uni_pc", "ddpm"), [True, True, 0])


def test_nothing_but_automatic_begins_anew_under_comfyuis_samplers(in_comfyui):
    answer = in_comfyui(
        WALK
        + textwrap.dedent("""
        answer = {}
        for mode in (None, "resident", "streamed from RAM"):
            try:
                walked("euler", mode, 3)
            except pack("ltx2.errors").LTX2Error as error:
                answer[str(mode)] = str(error)
    """)
    )
    assert sorted(answer) == ["None", "resident", "streamed from RAM"]
    assert all("sample must fit into" in words and "LTX-2 Placement" in words for words in answer.values())
