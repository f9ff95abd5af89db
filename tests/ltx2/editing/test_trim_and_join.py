"""Cutting and joining: lengths, what stays to the last bit, and what is refused."""

import pytest
import torch

from ltx2.editing.extend import extend
from ltx2.editing.join import join
from ltx2.editing.trim import trim
from ltx2.errors import LTX2Error
from ltx2.geometry import audio_latents, pixel_frames
from ltx2.latents import KEY, Clip, states_of

RATES = [24.0, 25.0, 30.0, 23.976, 29.97, 48.0, 50.0, 60.0]


def length(latent):
    return latent["samples"].shape[2]


def same(latent, samples, start=0):
    return torch.equal(latent["samples"][:, :, start : start + samples.shape[2]], samples)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0.0, 0.0, 0, 16),
        (-1.0, 0.0, 12, 16),  # 25 frames
        (-3.0, 0.0, 6, 16),  # 73 frames
        (0.0, 1.0, 0, 4),  # 25 frames
        (1.0, 2.0, 3, 7),
        (0.0, -1.0, 0, 13),
        (2.0, 0.0, 6, 16),
        (-5.0, -4.0, 0, 4),
    ],
)
def test_parts(make_clip, frozen_inputs, start, end, first, last):
    video, audio = make_clip(16)
    unchanged = frozen_inputs(video, audio)
    part, sound, seconds = trim(video, audio, start, end)
    unchanged()
    assert torch.equal(part["samples"], video["samples"][:, :, first:last])
    assert seconds == pixel_frames(last - first) / 24
    assert part[KEY].continues == sound[KEY].continues == (first > 0)
    offset = -(-first * 8 * 25 // 24)
    assert same(audio, sound["samples"], offset)
    assert abs(length(sound) - audio_latents(pixel_frames(last - first), 24.0)) <= (first > 0)
    assert all(states_of(part, sound))


def test_parts_of_sound_or_video_alone(make_clip):
    video, audio = make_clip(16)
    nothing, sound, seconds = trim(None, audio, 1.0, -1.0)
    assert nothing is None
    assert torch.equal(sound["samples"], audio["samples"][:, :, 25:101])
    assert seconds == 76 / 25
    part, nothing, _ = trim(video, None, 1.0, 0.0)
    assert nothing is None
    assert length(part) == 13
    bare = {"samples": audio["samples"]}
    assert KEY not in trim(None, bare, 0.0, 1.0)[1]
    with pytest.raises(LTX2Error, match="must carry its frame rate"):
        trim(None, bare, 1.0, 0.0)


def test_a_part_of_a_part_continues(make_clip):
    video, audio, _ = trim(*make_clip(16), 1.0, 0.0)
    video, audio, _ = trim(video, audio, 0.0, 1.0)
    assert video[KEY].continues
    assert audio[KEY].continues


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("num_latents", [5, 9, 13])
def test_parts_of_parts_stay_one_clip_however_often_they_are_cut(make_clip, rate, num_latents):
    """Each cut rounds where the sound begins, and what a clip may lack of it is one latent in all."""
    for first in range(1, num_latents - 2):
        for second in range(1, num_latents - first - 1):
            whole = make_clip(num_latents, rate)
            video, audio, _ = trim(*trim(*whole, first * 8 / rate, 0.0)[:2], second * 8 / rate, 0.0)
            assert all(states_of(video, audio))
            assert torch.equal(video["samples"], whole[0]["samples"][:, :, first + second :])
            assert torch.equal(audio["samples"], whole[1]["samples"][:, :, -length(audio) :])


@pytest.mark.parametrize("start", [0.381, 0.39, 0.399])
def test_the_last_moment_of_a_sound_is_one_latent(make_clip, start):
    audio = make_clip(4)[1]
    audio = {**audio, "samples": audio["samples"][:, :, :10]}
    part, seconds = trim(None, audio, start, 0.0)[1:]
    assert torch.equal(part["samples"], audio["samples"][:, :, 9:])
    assert seconds == 0.04


@pytest.mark.parametrize(("start", "end"), [(-6.0, 0.0), (0.0, 6.0), (2.0, 1.0)])
def test_ranges_outside_the_clip_are_refused(make_clip, start, end):
    with pytest.raises(LTX2Error, match=r"must enclose a part of the clip, which lasts 5\.042 s"):
        trim(*make_clip(16), start, end)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("num_latents", [5, 16, 17, 18, 31])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_a_clip_that_is_trimmed_extended_and_joined_loses_nothing(make_clip, sampled, rate, num_latents, seconds):
    whole = make_clip(num_latents, rate)
    kept = min(seconds, pixel_frames(num_latents) / rate)
    *context, _ = trim(*whole, -kept, 0.0)
    *longer, _ = extend(*context, 2.0)
    new = [sampled(latent) for latent in longer]
    video, audio, total = join(whole, new, kept)
    assert same(video, whole[0]["samples"]), "the whole source"
    assert same(audio, whole[1]["samples"])
    count = num_latents + round(2 * rate / 8)
    assert length(video) == count
    assert length(audio) == audio_latents(pixel_frames(count), rate)
    assert total == pytest.approx(pixel_frames(count) / rate)
    assert all(states_of(video, audio))
    assert same(video, new[0]["samples"][:, :, length(context[0]) :], num_latents), "and all that is new"
    tail = new[1]["samples"][:, :, length(context[1]) :][:, :, : length(audio) - length(whole[1])]
    assert tail.shape[2] >= length(audio) - length(whole[1]) - 1
    assert same(audio, tail, length(whole[1]))
    assert not video[KEY].continues


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("num_latents", [6, 16, 31])
def test_a_clip_that_begins_earlier_loses_nothing_but_its_short_first_latents(make_clip, sampled, rate, num_latents):
    whole = make_clip(num_latents, rate)
    *context, _ = trim(*whole, 0.0, 0.5)
    *longer, _ = extend(*context, 2.0, "before")
    new = [sampled(latent) for latent in longer]
    video, audio, _ = join(new, whole, 0.5)
    count = round(2 * rate / 8)
    assert length(video) == num_latents + count
    assert length(audio) == audio_latents(pixel_frames(num_latents + count), rate)
    assert same(video, whole[0]["samples"][:, :, 1:], count + 1)
    assert same(video, new[0]["samples"])
    assert same(audio, new[1]["samples"])
    shift = length(new[1]) - length(context[1])
    rest = whole[1]["samples"][:, :, 1 : length(audio) - shift]
    assert rest.shape[2] >= length(whole[1]) - 2
    assert same(audio, rest, shift + 1)


@pytest.mark.parametrize("rate", RATES)
def test_parts_that_overlap_are_the_whole_again(make_clip, rate):
    whole = make_clip(20, rate)
    for cut in range(2, 19):
        for num_shared in range(1, cut):
            seconds = pixel_frames(num_shared) / rate
            first = trim(*whole, 0.0, pixel_frames(cut) / rate)[:2]
            second = trim(*whole, (cut - num_shared) * 8 / rate, 0.0)[:2]
            video, audio, _ = join(first, second, seconds)
            assert torch.equal(video["samples"], whole[0]["samples"])
            assert length(audio) == length(whole[1])
            if length(first[1]) >= length(whole[1]) - length(second[1]):  # at 59.94 a cut can miss one latent
                assert torch.equal(audio["samples"], whole[1]["samples"])


def test_a_part_without_any_sound_is_refused(make_clip):
    """At 24 frames a second the last frame of a clip lasts 0.042 s, and its sound is rounded."""
    with pytest.raises(
        LTX2Error, match=r"must hold some of it; got 1 video latents from 1\.335 s, .* 1\.36 s: take 0\.2"
    ):
        trim(*make_clip(5), -0.04, 0.0)


def test_the_fade_is_linear(make_clip):
    first, second = make_clip(6), make_clip(7, seed=1)
    video, audio, _ = join(first, second, 25 / 24)  # four latents
    assert length(video) == 9
    a, b = first[0]["samples"][:, :, 2:], second[0]["samples"][:, :, :4]
    for index, weight in enumerate((0, 0.25, 0.5, 0.75)):
        expected = (1 - weight) * a[:, :, index] + weight * b[:, :, index]
        torch.testing.assert_close(video["samples"][:, :, 2 + index], expected)
    assert same(video, first[0]["samples"][:, :, :3])
    assert same(video, second[0]["samples"][:, :, 4:], 6)
    assert length(audio) == audio_latents(65, 24.0)
    assert same(audio, first[1]["samples"][:, :, : length(first[1]) - 25])


def test_an_overlap_of_one_latent_is_a_hard_cut(make_clip):
    first, second = make_clip(6), make_clip(7, seed=1)
    video, audio, _ = join(first, second, 0.1)
    assert torch.equal(video["samples"], torch.cat((first[0]["samples"], second[0]["samples"][:, :, 1:]), 2))
    assert torch.equal(audio["samples"], torch.cat((first[1]["samples"], second[1]["samples"][:, :, 1:]), 2))


def test_silent_clips_stand_behind_each_other_where_the_second_continues(make_clip):
    first, second = make_clip(6)[0], make_clip(7, seed=1)[0]
    with pytest.raises(
        LTX2Error, match=r"first video latent is shorter .* got an overlap of 0: an overlap of one latent"
    ):
        join((first, None), (second, None), 0.0)
    part = trim(second, None, 1.0, 0.0)[0]
    video, nothing, _ = join((first, None), (part, None), 0.0)
    assert nothing is None
    assert torch.equal(video["samples"], torch.cat((first["samples"], second["samples"][:, :, 3:]), 2))


def test_sound_alone(make_clip):
    first, second = make_clip(6)[1], make_clip(7, seed=1)[1]
    nothing, audio, _ = join((None, first), (None, second), 0.4)
    assert nothing is None
    assert length(audio) == length(first) + length(second) - 10
    part = trim(None, second, 1.0, 0.0)[1]
    assert length(join((None, first), (None, part), 0.0)[1]) == length(first) + length(part)
    with pytest.raises(LTX2Error, match="first audio latent is shorter"):
        join((None, first), (None, second), 0.0)


def test_what_joining_refuses(make_clip):
    first, second = make_clip(6), make_clip(7, seed=1)
    part = trim(*second, 1.0, 0.0)[:2]
    for one, other, overlap, message in (
        (first, part, 0.0, "clips with sound must overlap by one latent at least"),
        (first, second, -1.0, "overlap must be 0 s or more; got -1"),
        (first, second, 2.5, "no longer than the first; got 8 latents of 6 and 7: make it shorter"),
        (first, (second[0], None), 1.0, "only the first has audio"),
        ((None, first[1]), second, 1.0, "only the second has video"),
        (first, make_clip(7, size=(2, 2)), 1.0, r"must have one size; got \[1, 4, 2, 3\] and \[1, 4, 2, 2\]"),
        (first, make_clip(7, 25.0), 1.0, "must have one frame rate; got 24 and 25"),
        (first, (second[0], make_clip(9)[1]), 1.0, "equally long"),
        (first, ({**second[0], "noise_mask": torch.ones(1, 1, 7, 1, 1)}, second[1]), 1.0, "it has a mask"),
        ((None, None), second, 1.0, "got neither"),
    ):
        with pytest.raises(LTX2Error, match=message):
            join(one, other, overlap)


def test_joining_leaves_its_inputs_alone(make_clip, frozen_inputs):
    first, second = make_clip(6, batch=2), make_clip(7, seed=1, batch=2)
    unchanged = frozen_inputs(*first, *second)
    video, audio, _ = join(first, second, 1.0)
    video["samples"].zero_(), audio["samples"].zero_()
    unchanged()
    assert isinstance(video[KEY], Clip)
