"""Token states in the one tensor that a sampler walks: nothing is lost, and what is kept stays."""

from __future__ import annotations

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.interop.walk import Walk
from ltx2.latents import KEY, Clip, states_of


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def walk_of(*conditions, mask=None, with_audio=True):
    video = {"samples": drawn(2, 128, 2, 2, 3), KEY: Clip(24.0, conditions)}
    audio = {"samples": drawn(2, 8, 9, 16, seed=1)}
    if mask is not None:
        video["noise_mask"] = mask
    audio = audio if with_audio else None
    return Walk.of(states_of(video, audio), video, audio), video, audio


def test_the_clip_comes_first_as_comfyui_packs_it():
    walk, video, audio = walk_of()
    packed = torch.cat([each["samples"].reshape(2, 1, -1) for each in (video, audio)], -1)
    assert torch.equal(walk.start, packed)
    assert walk.num_values == packed.shape[-1]
    assert all(torch.equal(one, each["samples"]) for one, each in zip(walk.clip(packed), (video, audio), strict=True))


@pytest.mark.parametrize("with_audio", [True, False])
def test_tokens_there_and_back(with_audio):
    walk, _, _ = walk_of(AppendedFrames(drawn(1, 128, 1, 2, 3), 8, 0.5), with_audio=with_audio)
    tokens = tuple(None if state is None else drawn(*state.latent.shape, seed=n) for n, state in enumerate(walk.states))
    flat = walk.flat(tokens)
    assert flat.shape == (2, 1, walk.num_values + 6 * 128)
    for one, other in zip(tokens, walk.tokens(flat), strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


def test_a_sampler_sees_predictions_without_masks():
    """m z + (1 - m) clean, of the x0 that it is told, is the x0 that was predicted with masks."""
    mask = torch.ones(1, 1, 2, 1, 1)
    mask[:, :, 0] = 102 / 255
    walk, _, _ = walk_of(ReplacedFrames(drawn(1, 128, 1, 2, 3), 1, 1.0), mask=mask)
    free = tuple(drawn(*state.latent.shape, seed=5) for state in walk.states)
    masked = walk.seen(free)
    told = walk.unmasked(masked)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(walk.seen(told), masked, strict=True))
    generated = walk.states[0].mask[0, :, 0] > 0
    assert torch.allclose(told[0][:, generated], free[0][:, generated], atol=1e-5)
    assert torch.equal(told[0][:, ~generated], walk.states[0].clean[:, ~generated])
    assert torch.equal(told[1], free[1])


def test_what_is_left_is_pulled_to_what_is_kept():
    walk, video, _ = walk_of(mask=torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1, 1))
    flat = drawn(*walk.start.shape, seed=3)
    for sigma in (0.0, 0.4):
        left, _ = walk.left(flat, sigma)
        assert torch.equal(left[:, :, 0], video["samples"][:, :, 0])
        assert torch.equal(left[:, :, 1], walk.clip(flat)[0][:, :, 1])


def test_a_walk_may_stop_on_its_way_only_where_nothing_is_lost():
    for walk in (
        walk_of(AppendedFrames(drawn(1, 128, 1, 2, 3), 8, 0.5))[0],
        walk_of(mask=torch.full((1, 1, 2, 1, 1), 0.4))[0],
    ):
        walk.left(walk.start, 0.0)
        with pytest.raises(LTX2Error, match=r"sigmas must end at 0 .* they end at 0.4"):
            walk.left(walk.start, 0.4)
    walk = walk_of(AppendedFrames(drawn(1, 128, 1, 2, 3), 8, 1.0))[0]
    walk.left(walk.start, 0.4)


def test_no_numbers_are_an_error():
    walk, _, _ = walk_of()
    with pytest.raises(LTX2Error, match="finite video latents"):
        walk.left(walk.start / 0, 0.0)
