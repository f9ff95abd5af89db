"""Our latents as ComfyUI's and back: exact, or refused in words."""

from __future__ import annotations

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.interop.latents import from_streams, to_streams
from ltx2.latents import KEY, Clip, with_conditions
from ltx2.sampling.given_noise import AudioVideo
from ltx2.sampling.partial import KEY as RUN_KEY


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def video():
    return {"samples": drawn(1, 128, 3, 2, 4), KEY: Clip(24.0)}


@pytest.fixture
def audio():
    return {"samples": drawn(1, 8, 18, 16, seed=1), KEY: Clip(24.0)}


def joined(streams, **more):
    """A LATENT of ComfyUI with these streams, in a value with what it looks at in a nested one."""
    latent = {"samples": AudioVideo(*streams.samples), **more}
    return latent if streams.masks is None else {**latent, "noise_mask": AudioVideo(*streams.masks)}


def test_samples_and_masks_come_back_as_they_went(video, audio):
    mask = torch.ones(1, 1, 3, 2, 4)
    mask[:, :, 0], mask[:, :, 1] = 0, 102 / 255
    streams, extra = to_streams({**video, "noise_mask": mask, "batch_index": [3]}, audio)
    back = from_streams(joined(streams, **extra, type="audio", downscale_ratio_spacial=32))
    assert torch.equal(back[0]["samples"], video["samples"])
    assert torch.equal(back[1]["samples"], audio["samples"])
    assert torch.equal(back[0]["noise_mask"], mask)
    assert set(back[0]) == {"samples", "noise_mask", KEY, "batch_index"}
    assert set(back[1]) == {"samples", KEY, "batch_index"}  # its mask generates all of it
    assert back[0][KEY].frame_rate == back[1][KEY].frame_rate == 24.0


def test_one_alone_is_plain(video, audio):
    for given in ((video, None), (None, audio)):
        streams, extra = to_streams(*given)
        assert streams.masks is None
        back = from_streams({"samples": streams.samples[0], **extra})
        for was, now in zip(given, back, strict=True):
            assert (was is None) == (now is None)
            assert was is None or torch.equal(was["samples"], now["samples"])


def test_what_comes_in_half_precision_is_computed_in_full(video):
    half = video["samples"].half()
    assert torch.equal(from_streams({"samples": half}, 24.0)[0]["samples"], half.float())


def test_frames_in_the_place_of_others_become_samples_and_a_mask(video, audio):
    picture = drawn(1, 128, 1, 2, 4, seed=2)
    streams, _ = to_streams(with_conditions(video, (ReplacedFrames(picture, 0, 1.0),)), audio)
    assert torch.equal(streams.samples[0][:, :, :1], picture)
    assert torch.equal(streams.samples[0][:, :, 1:], video["samples"][:, :, 1:])
    assert streams.masks[0].shape == (1, 1, 3, 2, 4)
    assert streams.masks[0][:, :, 0].max() == 0
    assert streams.masks[0][:, :, 1:].min() == 1
    assert streams.masks[1].shape == (1, 1, 18, 1)
    assert streams.masks[1].min() == 1


def test_what_cannot_be_said_there_is_refused(video, audio):
    beside = with_conditions(video, (AppendedFrames(drawn(1, 128, 1, 2, 4), 8),))
    with pytest.raises(LTX2Error, match=r"the video latent has AppendedFrames: connect it to LTX-2 Guider to ComfyUI"):
        to_streams(beside, audio)
    with pytest.raises(LTX2Error, match="cut out of a longer clip"):
        to_streams({**video, KEY: Clip(24.0, continues=True)}, None)
    with pytest.raises(LTX2Error, match="the run that made it stopped above 0"):
        to_streams({**video, RUN_KEY: object()}, None)


def test_the_frame_rate_is_the_latents_own_or_a_given_one(video):
    bare = {"samples": video["samples"]}
    with pytest.raises(LTX2Error, match="the latent carries none: set frame_rate"):
        from_streams(bare)
    assert from_streams(bare, 30.0)[0][KEY].frame_rate == 30.0
    assert from_streams(video, 48.0)[0][KEY].frame_rate == 48.0
    with pytest.raises(LTX2Error, match="-1"):
        from_streams(bare, -1.0)


def test_sound_needs_no_frame_rate(audio):
    _, back = from_streams({"samples": audio["samples"]})
    assert set(back) == {"samples"}


def test_masks_of_comfyui_in_other_shapes(video, audio):
    full = torch.ones_like(video["samples"])
    full[:, :, 0] = 0
    sound = torch.ones_like(audio["samples"])
    sound[:, :, :5] = 0
    back = from_streams({**joined(to_streams(video, audio)[0]), "noise_mask": AudioVideo(full, sound)}, 24.0)
    assert back[0]["noise_mask"].shape == (1, 1, 3, 2, 4)
    assert back[1]["noise_mask"].shape == (1, 1, 18, 1)
    assert back[1]["noise_mask"].sum() == 13
    assert to_streams(*back)[0].masks[0][:, :, 0].max() == 0
    with pytest.raises(LTX2Error, match="the same for all frequencies"):
        from_streams(
            {"samples": audio["samples"], "noise_mask": drawn(1, 8, 1, 16).sigmoid().expand(1, 8, 18, 16)[:, :1]}
        )
    with pytest.raises(LTX2Error, match="remove the guides first"):
        from_streams({**video, "noise_mask": full - 1.0})


@pytest.mark.parametrize("samples", [torch.zeros(1, 4, 8), None, AudioVideo(torch.zeros(1, 8, 4, 16), torch.zeros(1))])
def test_other_latents_are_refused(samples):
    with pytest.raises(LTX2Error, match="latent must hold a video"):
        from_streams({"samples": samples}, 24.0)
