"""Whole graphs on the tiny set: what changes the clip, what does not, and how much memory weights take."""

from __future__ import annotations

import gc
from fractions import Fraction

import pytest
import torch

DISTILLED = "LTX-2 Text to Video Distilled"
GUIDED = "LTX-2 Text to Video"
SMALL = {"width": 128, "height": 64, "frames": 9, "frame_rate": 24.0}


def nodes_of(prompt, class_type):
    return [node["inputs"] for node in prompt.values() if node["class_type"] == class_type]


def small(prompt, steps=3):
    (canvas,) = nodes_of(prompt, "LTX2_Canvas")
    canvas.update(SMALL)
    for schedule in nodes_of(prompt, "LTX2_Schedule"):
        schedule["steps"] = steps
    return prompt


def with_release_2_0(prompt):
    nodes_of(prompt, "LTX2_LoadCheckpoint")[0]["checkpoint"] = "ltx-2-19b-distilled.safetensors"
    nodes_of(prompt, "LTX2_LoadUpsampler")[0]["file"] = "ltx-2-spatial-upscaler-x2-1.0.safetensors"
    return prompt


@pytest.fixture
def executor(pack, tiny_models, tmp_path):
    """One process's executor on the tiny 2.3 set: results of unchanged nodes are reused from run to run."""
    session = pack("nodes.host.headless.session").session
    folders = [tmp_path / name for name in ("input", "output")]
    with session(tiny_models("2.3"), *folders, device="cpu", temp=tmp_path / "temp") as executor:
        yield executor


@pytest.fixture
def clip(executor, pack, tmp_path):
    """`clip(prompt)` runs a graph and gives its video's frames and sound."""

    def run(prompt):
        result = executor.run(prompt)
        (saved,) = pack("nodes.host.headless.session").saved_files(result, tmp_path / "output")
        return pack("nodes.host.headless.video").VideoFromFile(str(saved)).get_components()

    return run


def same(one, other):
    return torch.equal(one.images, other.images), torch.equal(one.audio["waveform"], other.audio["waveform"])


def test_the_promised_clip(clip, api_prompt):
    video = clip(small(api_prompt(DISTILLED)))
    assert video.images.shape == (9, 64, 128, 3)
    assert video.frame_rate == Fraction(24)
    waveform, rate = video.audio["waveform"], video.audio["sample_rate"]
    assert abs(waveform.shape[-1] / rate - 9 / 24) <= 1024 / rate
    assert waveform.square().mean().sqrt() > 0.003, "the sound must have energy"
    assert (video.images[1:] - video.images[:-1]).abs().mean() > 0.01, "frames must vary"


def test_two_runs_with_one_seed_are_byte_for_byte_the_same(pack, tiny_models, tmp_path, api_prompt):
    files = []
    for number in range(2):
        folders = [tmp_path / f"{name}{number}" for name in ("input", "output", "temp")]
        session = pack("nodes.host.headless.session")
        with session.session(tiny_models("2.0"), *folders[:2], device="cpu", temp=folders[2]) as executor:
            prompt = with_release_2_0(small(api_prompt(DISTILLED)))
            (saved,) = session.saved_files(executor.run(prompt), folders[1])
            files.append(saved.read_bytes())
    assert files[0] == files[1]


def test_prompt_and_seed_each_change_the_clip(clip, api_prompt):
    first = clip(small(api_prompt(DISTILLED)))
    other_prompt = small(api_prompt(DISTILLED))
    nodes_of(other_prompt, "LTX2_EncodePrompt")[0]["text"] = "Another thing altogether."
    assert same(first, clip(other_prompt)) == (False, False)
    other_seed = small(api_prompt(DISTILLED))
    for node in nodes_of(other_seed, "LTX2_Sample"):
        node["seed"] += 1
    assert same(first, clip(other_seed)) == (False, False)


def test_the_first_stage_changes_the_clip(clip, api_prompt):
    first = clip(small(api_prompt(DISTILLED)))
    prompt = small(api_prompt(DISTILLED))
    stage_1 = min(nodes_of(prompt, "LTX2_Sample"), key=lambda node: node["seed"])
    stage_1["seed"] += 1000
    assert same(first, clip(prompt)) == (False, False)


def test_every_solver_samples(executor, api_prompt, pack):
    latents = {}
    for solver in pack("ltx2.sampling.table").SOLVERS:
        prompt = small(api_prompt(DISTILLED))
        for node in nodes_of(prompt, "LTX2_Sample"):
            node["solver"] = solver
        last = max(prompt, key=lambda node_id: prompt[node_id]["inputs"].get("seed", -1))
        latents[solver] = executor.run(prompt).values[last][0]["samples"]
        assert torch.isfinite(latents[solver]).all()
    # Without guidance there is nothing for CFG++ to do differently.
    torch.testing.assert_close(latents.pop("euler_cfg_pp"), latents["euler"], atol=1e-3, rtol=0)
    assert len({latent.sum().item() for latent in latents.values()}) == len(latents)


def test_lora_strength_changes_the_picture_of_the_guided_clip(clip, api_prompt):
    pictures = []
    for strength in (1.0, 0.5):
        prompt = small(api_prompt(GUIDED))
        nodes_of(prompt, "LTX2_Lora")[0]["strength"] = strength
        pictures.append(clip(prompt))
    # This pipeline keeps the sound of its first stage, which has no LoRA.
    assert same(*pictures) == (False, True)


def test_a_guide_changes_the_clip_and_no_node_changes_its_input(executor, api_prompt, tmp_path):
    from PIL import Image

    (tmp_path / "input").mkdir(exist_ok=True)
    Image.new("RGB", (100, 80), (200, 30, 30)).save(tmp_path / "input" / "example.png")
    prompt = small(api_prompt("LTX-2 Image to Video Distilled"))
    nodes_of(prompt, "LoadImage")[0]["image"] = "example.png"
    result = executor.run(prompt)
    sums = {
        node_id: value["samples"].double().sum().item()
        for node_id, values in result.values.items()
        for value in values
        if isinstance(value, dict) and "samples" in value
    }
    nodes_of(prompt, "LTX2_ImageGuide")[0]["strength"] = 0.25
    again = executor.run(prompt)
    assert set(again.executed) < set(result.executed)
    kept = [node_id for node_id in sums if node_id not in again.executed]
    changed = [node_id for node_id in sums if node_id in again.executed]
    assert kept
    assert changed
    for node_id in kept:
        assert result.values[node_id][0]["samples"].double().sum().item() == sums[node_id]
    assert any(again.values[n][0]["samples"].double().sum().item() != sums[n] for n in changed)


def test_a_distilled_guider_makes_one_call_a_step(executor, pack, api_prompt):
    transformer = pack("ltx2.networks.transformer.model").Transformer
    calls = []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, args, output: calls.append(1) if isinstance(module, transformer) else None
    )
    executor.run(small(api_prompt(DISTILLED)))
    handle.remove()
    assert len(calls) == 8 + 3


def weight_bytes():
    """Bytes of all parameters that are alive, storages counted once; mapped ones too."""
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.nn.Parameter and not thing.is_meta:
            storage = thing.untyped_storage()
            storages[(storage.data_ptr(), thing.data_ptr())] = thing.nbytes
    return sum(storages.values())


def test_two_stages_hold_one_transformer(pack, tiny_models, host):
    """The dev transformer, then the same with the LoRA: at no time are there two."""
    recipes = pack("ltx2.recipe")
    models = tiny_models("2.3")
    (lora,) = (models / "loras").glob("*distilled*")
    plain = recipes.TransformerRecipe.open(models / "checkpoints" / "ltx-2.3-22b-dev.safetensors")
    refined = plain.with_lora(lora, 1.0)
    gc.collect()
    before = weight_bytes()
    cache = pack("nodes.host.networks").NetworkCache()
    (network,) = cache.borrow(plain)
    one = sum(parameter.nbytes for parameter in network.parameters())
    del network
    seen = []

    class WatchedStack(pack("ltx2.checkpoint.lora_stack").LoraStack):
        def __call__(self, name, weight):
            merged = super().__call__(name, weight)
            if len(seen) < 40 or name.endswith("to_q.weight"):  # counting is slow
                seen.append(weight_bytes() - before)
            return merged

    class Watch(type(refined)):
        """The second recipe, which looks at the memory while it is built."""

        def _stack(self):
            return WatchedStack(super()._stack().loras)

    fields = {name: getattr(refined, name) for name in ("file", "config", "release", "loras")}
    (network,) = cache.borrow(Watch(**fields))
    assert len(seen) >= 40
    assert max(*seen, weight_bytes() - before) <= 1.05 * one
    assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), plain.build().parameters(), strict=True))
    cache.clear()
