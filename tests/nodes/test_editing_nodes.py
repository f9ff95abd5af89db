"""Editing nodes: that they hand on what the library makes, and that sampling keeps what is outside to the last bit."""

from __future__ import annotations

import pytest
import torch

CONTEXT_SLOTS = 128


@pytest.fixture
def node(pack, host):
    """`node("LTX2_Retake")` is that node's `execute`; its result the outputs."""
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    return lambda node_id, **inputs: classes[node_id].execute(**inputs).args


@pytest.fixture
def clip(pack):
    """A finished clip of 33 frames, 64 x 96, with its sound."""
    generator = torch.Generator().manual_seed(0)
    key = pack("ltx2.latents").Clip(24.0)
    video = torch.randn(1, 128, 5, 2, 3, generator=generator)
    audio = torch.randn(1, 8, 34, 16, generator=generator)
    return {"samples": video, "ltx2": key}, {"samples": audio, "ltx2": key}


@pytest.fixture
def sample(node, pack, tiny_models):
    """`sample(video, audio)` is LTX-2 Sample with the tiny distilled transformer, two steps."""
    path = next((tiny_models("2.3") / "checkpoints").glob("*distilled*"))
    transformer = pack("ltx2.recipe").TransformerRecipe.open(path)
    config = transformer.config
    generator = torch.Generator().manual_seed(1)
    widths = config.cross_attention_dim, config.audio_cross_attention_dim
    contexts = (torch.randn(1, CONTEXT_SLOTS, width, generator=generator) for width in widths)
    guider = pack("ltx2.sampling.guider").Guider.of(transformer, pack("ltx2.sampling.denoiser").Context(*contexts))

    def run(video=None, audio=None, solver="euler"):
        sigmas = torch.tensor([1.0, 0.7, 0.0])
        inputs = {"guider": guider, "sigmas": sigmas, "solver": solver, "seed": 3, "video": video, "audio": audio}
        return node("LTX2_Sample", **inputs)

    return run


def regenerated(new, old):
    """Which latents differ, to the last bit."""
    return (new["samples"] != old["samples"]).transpose(0, 2).flatten(1).any(1).nonzero().flatten().tolist()


RETAKE = {"regenerate_video": True, "regenerate_audio": True}


@pytest.mark.parametrize("solver", ["euler", "euler_ancestral", "gradient_estimation", "euler_cfg_pp", "res_2s"])
def test_a_retake_keeps_everything_outside_its_range(node, clip, sample, solver):
    masked = node("LTX2_Retake", video=clip[0], audio=clip[1], start=0.5, end=0.9, **RETAKE)
    video, audio = sample(*masked, solver)
    assert regenerated(video, clip[0]) == [2, 3]  # frames 9 to 24
    assert regenerated(audio, clip[1]) == list(range(13, 24))  # 0.49 to 0.93 s
    assert "noise_mask" not in video


@pytest.mark.parametrize("kept", ["video", "audio"])
def test_a_retake_of_one_modality_keeps_the_other(node, clip, sample, kept):
    flags = {f"regenerate_{what}": what != kept for what in ("video", "audio")}
    results = sample(*node("LTX2_Retake", video=clip[0], audio=clip[1], start=0.5, end=0.9, **flags))
    for what, new, old in zip(("video", "audio"), results, clip, strict=True):
        assert bool(regenerated(new, old)) == (what != kept)


def test_inpainting_keeps_everything_outside_its_mask(node, clip, sample):
    mask = torch.zeros(1, 64, 96)
    mask[:, 32:, :64] = 1
    video, audio = sample(*node("LTX2_Inpaint", video=clip[0], mask=mask, audio=clip[1]))
    changed = (video["samples"] != clip[0]["samples"]).any(1)[0]
    expected = torch.zeros(5, 2, 3, dtype=torch.bool)
    expected[:, 1, :2] = True
    assert torch.equal(changed, expected)
    assert regenerated(audio, clip[1]) == []


@pytest.mark.parametrize("direction", ["after", "before"])
def test_extending_keeps_the_source(node, clip, sample, direction):
    video, audio, added = node("LTX2_Extend", video=clip[0], audio=clip[1], seconds=0.7, direction=direction)
    assert added == pytest.approx(16 / 24)
    new = sample(video, audio)
    for latent, old, count in zip(new, clip, (2, 17), strict=True):
        samples = latent["samples"]
        assert samples.shape[2] == old["samples"].shape[2] + count
        kept = samples[:, :, :-count] if direction == "after" else samples[:, :, count:]
        first = 0 if direction == "after" else 1
        assert torch.equal(kept[:, :, first:], old["samples"][:, :, first:])
        assert samples.abs().amax((0, 1, 3)).min() > 0, "nothing is left empty"
        assert not latent["ltx2"].conditions


def test_trimming_and_joining(node, clip):
    video, audio, seconds = node("LTX2_TrimLatents", video=clip[0], audio=clip[1], start=-0.7, end=0.0)
    assert seconds == 17 / 24
    assert torch.equal(video["samples"], clip[0]["samples"][:, :, 2:])
    names = ("first_video", "first_audio", "second_video", "second_audio")
    inputs = dict(zip(names, (*clip, video, audio), strict=True))
    with pytest.raises(ValueError, match="must leave something of the second clip"):
        node("LTX2_JoinLatents", overlap=0.7, **inputs)
    video, audio, seconds = node("LTX2_JoinLatents", overlap=0.4, **inputs)
    assert video["samples"].shape[2] == 6
    assert seconds == 41 / 24


def test_sound_alone_and_video_alone(node, clip, sample):
    _, audio, added = node("LTX2_Extend", audio=clip[1], seconds=0.4, direction="after")
    assert added == 0.4
    nothing, sound = sample(audio=audio)
    assert nothing is None
    assert torch.equal(sound["samples"][:, :, :34], clip[1]["samples"])
    video, nothing = node("LTX2_Retake", video=clip[0], start=0.5, end=0.9, **RETAKE)
    assert nothing is None
    assert regenerated(sample(video)[0], clip[0]) == [2, 3]
