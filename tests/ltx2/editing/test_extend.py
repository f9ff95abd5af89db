"""Extending: what is kept, what is generated, how long the result is, and what is refused."""

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames
from ltx2.editing.extend import extend
from ltx2.editing.trim import trim
from ltx2.errors import LTX2Error
from ltx2.geometry import audio_latents, pixel_frames
from ltx2.latents import KEY, RUN_KEY, Clip, states_of
from ltx2.sampling.partial import Unfinished

RATES = [24.0, 25.0, 30.0, 23.976, 50.0]


def masked(latent):
    return latent["noise_mask"].flatten().tolist()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("direction", ["after", "before"])
@pytest.mark.parametrize("num_latents", [1, 2, 7, 16])
def test_lengths(make_clip, frozen_inputs, rate, direction, num_latents):
    pair = make_clip(num_latents, rate)
    unchanged = frozen_inputs(*pair)
    video, audio, added = extend(*pair, 2.0, direction)
    unchanged()
    count = round(2 * rate / 8)
    assert added == pytest.approx(count * 8 / rate)
    assert video["samples"].shape[2] == num_latents + count
    assert audio["samples"].shape[2] == audio_latents(pixel_frames(num_latents + count), rate)
    assert all(states_of(video, audio))


def test_after(make_clip):
    pair = make_clip(4)
    video, audio, _ = extend(*pair, 1.0, "after")
    assert torch.equal(video["samples"][:, :, :4], pair[0]["samples"])
    assert torch.equal(audio["samples"][:, :, :26], pair[1]["samples"])
    assert not video["samples"][:, :, 4:].any()
    assert not audio["samples"][:, :, 26:].any()
    assert masked(video) == [0] * 4 + [1] * 3
    assert masked(audio) == [0] * 26 + [1] * 25
    assert video[KEY].conditions == ()


def test_before(make_clip):
    """The clip's first frame, which only a first latent can hold, becomes a keyframe where it then stands."""
    pair = make_clip(4)
    video, audio, _ = extend(*pair, 1.0, "before")
    assert torch.equal(video["samples"][:, :, 4:], pair[0]["samples"][:, :, 1:])
    assert torch.equal(audio["samples"][:, :, 26:], pair[1]["samples"][:, :, 1:])
    assert not video["samples"][:, :, :4].any()
    assert not audio["samples"][:, :, :26].any()
    assert masked(video) == [1] * 4 + [0] * 3
    assert masked(audio) == [1] * 26 + [0] * 25
    (keyframe,) = video[KEY].conditions
    assert isinstance(keyframe, AppendedFrames)
    assert torch.equal(keyframe.latent, pair[0]["samples"][:, :, :1])
    state = states_of(video, audio)[0]
    assert state.num_appended == 6
    assert state.positions[0, 0, -1].tolist() == [24 / 24, pytest.approx(25 / 24)]
    assert state.mask[:, -6:].sum() == 0


def test_before_a_continuing_clip_everything_stays(make_clip):
    """Its first latent is a full one."""
    whole = make_clip(7)
    video, audio, _ = trim(*whole, 1.0, 0.0)
    assert video[KEY].continues
    longer, sound, _ = extend(video, audio, 1.0, "before")
    assert torch.equal(longer["samples"][:, :, 3:], video["samples"])
    assert torch.equal(sound["samples"][:, :, -audio["samples"].shape[2] :], audio["samples"])
    assert masked(longer) == [1] * 3 + [0] * 4
    assert longer[KEY].conditions == ()
    assert not longer[KEY].continues
    assert not sound[KEY].continues
    after, _, _ = extend(video, audio, 1.0, "after")
    assert after[KEY].continues


def test_video_alone_and_sound_alone(make_clip):
    video, audio = make_clip(4)
    longer, silent, _ = extend(video, None, 1.0)
    assert silent is None
    assert longer["samples"].shape[2] == 7
    nothing, longer, added = extend(None, {"samples": audio["samples"]}, 0.5)
    assert nothing is None
    assert added == 12 / 25
    assert masked(longer) == [0] * 26 + [1] * 12
    _, longer, _ = extend(None, audio, 0.5, "before")
    assert masked(longer) == [1] * 13 + [0] * 25
    assert torch.equal(longer["samples"][:, :, 13:], audio["samples"][:, :, 1:])


def test_a_clip_grows_by_one_latent_at_least(make_clip):
    video, audio, added = extend(*make_clip(4), 0.01)
    assert video["samples"].shape[2] == 5
    assert added == pytest.approx(8 / 24)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 0.0}, "seconds must be above 0; got 0"),
        ({"seconds": float("nan")}, "seconds must be above 0; got nan"),
        ({"seconds": float("inf")}, "seconds must be above 0; got inf"),
        ({"direction": "sideways"}, "direction must be after or before; got sideways"),
        ({"seconds": 30.0}, r"must fit into the 20 s that the model can place; got 31\.04 s: trim .*, extend .*join"),
    ],
)
def test_what_is_refused(make_clip, changes, message):
    with pytest.raises(LTX2Error, match=message):
        extend(*make_clip(4), **{"seconds": 1.0, **changes})


def test_the_longest_clip(make_clip):
    """481 frames at 24 per second end at 20.04 s; the middle of the last latent, at 19.9 s, is what the model sees."""
    video, audio = make_clip(61, size=(1, 1))
    with pytest.raises(LTX2Error, match=r"20 s .*; got 20\.38 s"):
        extend(video, audio, 8 / 24)
    video, audio = make_clip(60, size=(1, 1))
    assert extend(video, audio, 8 / 24)[0]["samples"].shape[2] == 61
    with pytest.raises(LTX2Error, match="20 s"):
        extend(None, audio, 1.0)


def test_clips_that_wait_to_be_sampled_are_refused(make_clip):
    video, audio = make_clip(4)
    guide = AppendedFrames(video["samples"][:, :, :1], frame=8)
    with pytest.raises(LTX2Error, match="a video latent must have neither mask nor guides, .*; it has guides"):
        extend({**video, KEY: Clip(24.0, (guide,))}, audio, 1.0)
    with pytest.raises(LTX2Error, match="an audio latent must have neither .*; it has a mask: sample it to the end"):
        extend(video, {**audio, "noise_mask": torch.ones(1, 1, 26, 1)}, 1.0)
    with pytest.raises(LTX2Error, match="got neither"):
        extend(None, None, 1.0)


@pytest.mark.parametrize("change", [lambda *pair: extend(*pair, 1.0), lambda *pair: trim(*pair, 0.0, 0.3)])
def test_noisy_clips_of_unfinished_runs_keep_their_length(make_clip, change):
    video, audio = make_clip(3)
    run = Unfinished(video["samples"], torch.zeros(1, 18, 4), torch.ones(1, 18, 1), steps=1)
    with pytest.raises(LTX2Error, match="nor noise of a run that stopped above 0, .*; it has noise: sample it to the"):
        change({**video, RUN_KEY: run}, audio)
