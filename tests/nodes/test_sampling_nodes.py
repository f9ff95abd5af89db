"""Schedules and the sampler as a graph uses them: lists, slices, and a run in two parts."""

from __future__ import annotations

import pytest
import torch


def sigmas_of(node, node_id, **values):
    (sigmas,) = node(node_id).execute(**values).args
    return sigmas


def test_every_schedule_gives_sigmas(node):
    given = {
        "LTX2_Schedule": {"steps": 8},
        "LTX2_DistilledSchedule": {"stage": "1"},
        "LTX2_LinearQuadraticSchedule": {"steps": 8},
        "LTX2_BetaSchedule": {"steps": 8, "alpha": 0.6, "beta": 0.6},
        "LTX2_ManualSchedule": {"text": "1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0"},
    }
    for node_id, values in given.items():
        sigmas = sigmas_of(node, node_id, **values)
        assert sigmas.dtype == torch.float32
        assert len(sigmas) == 9
        part = sigmas_of(node, "LTX2_SliceSchedule", sigmas=sigmas, start_step=2, end_step=-1, denoise=0.5)
        assert torch.equal(part, sigmas[5:])
    assert torch.equal(
        sigmas_of(node, "LTX2_LinearQuadraticSchedule", steps=8), sigmas_of(node, "LTX2_DistilledSchedule", stage="1")
    )


def test_a_schedule_follows_a_latent_where_one_is_connected(node):
    video = {"samples": torch.zeros(1, 128, 16, 24, 40)}
    fixed = sigmas_of(node, "LTX2_Schedule", steps=8)
    larger = sigmas_of(node, "LTX2_Schedule", steps=8, video=video)
    assert (larger[1:-2] > fixed[1:-2]).all()


def test_what_the_nodes_refuse(node, error):
    with pytest.raises(error, match="sigmas must be numbers with commas between them; got 'x'"):
        sigmas_of(node, "LTX2_ManualSchedule", text="1, x, 0")
    with pytest.raises(error, match="got 3 to 3 of 3 steps: choose 0 to 2"):
        sigmas_of(node, "LTX2_SliceSchedule", sigmas=torch.linspace(1, 0, 4), start_step=3, end_step=-1, denoise=1.0)


@pytest.fixture
def sample(distilled):
    """`sample(sigmas=..., solver=..., video=..., ...)` is what the distilled tiny model samples."""
    run, given = distilled
    return lambda **values: run("Sample", **given, **values).args


def clip(pack):
    """(video, audio): noise, of which the masks keep a part, and a guide that is a token sequence of its own."""
    generator = torch.Generator().manual_seed(1)
    frames = pack("ltx2.conditioning.frames")
    guide = frames.AppendedFrames(torch.randn(1, 128, 1, 2, 2, generator=generator), 8, strength=0.6)
    Clip, mask = pack("ltx2.latents").Clip, torch.ones(1, 1, 2, 2, 2)
    mask[:, :, 0] = 0.4
    video = {"samples": torch.randn(1, 128, 2, 2, 2, generator=generator), "ltx2": Clip(24.0, (guide,))}
    return {**video, "noise_mask": mask}, {"samples": torch.zeros(1, 8, 9, 16), "ltx2": Clip(24.0)}


@pytest.mark.parametrize("solver", ["euler", "euler_ancestral"])
def test_two_parts_give_the_clip_of_one_run(sample, pack, solver):
    """To the last bit, with a feathered mask and a guide that lets the clip drift."""
    sigmas, (video, audio) = torch.tensor([1.0, 0.9, 0.5, 0.2, 0.0]), clip(pack)
    whole = sample(sigmas=sigmas, solver=solver, video=video, audio=audio)
    first = sample(sigmas=sigmas[:3], solver=solver, video=video, audio=audio)
    second = sample(sigmas=sigmas[2:], solver=solver, video=first[0], audio=first[1], add_noise=False)
    for one, other, half in zip(whole, second, first, strict=True):
        assert torch.equal(one["samples"], other["samples"])
        assert not torch.equal(one["samples"], half["samples"])
        assert set(one) == set(other) == {"samples", "ltx2"}
        assert "ltx2_run" in half
    assert first[0]["ltx2"].conditions == video["ltx2"].conditions
    assert torch.equal(first[0]["noise_mask"], video["noise_mask"])
