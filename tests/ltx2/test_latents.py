"""What a LATENT means: checks, masks, conditions, and results that carry none of them."""

from dataclasses import dataclass

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.geometry import Canvas
from ltx2.latents import (
    KEY,
    Clip,
    audio_mask,
    clip_of,
    empty,
    latents_of,
    samples_of,
    states_of,
    video_mask,
    with_conditions,
    with_frame_rate,
)


@pytest.fixture
def clip():
    return empty(Canvas(128, 64, 17, 25.0), 1)


def test_empty_latents_have_the_canvas(clip):
    video, audio = clip
    assert video["samples"].shape == (1, 128, 3, 2, 4)
    assert audio["samples"].shape == (1, 8, 17, 16)
    assert clip_of(video).frame_rate == 25.0
    half, _ = empty(Canvas(128, 64, 17, 25.0), 2)
    assert half["samples"].shape == (1, 128, 3, 1, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((128, 64, 100, 24.0), r"frames must be 8n \+ 1; got 100 \(nearest: 97, 105\)"),
        ((500, 64, 97, 24.0), r"width must be a multiple of 32; got 500 \(nearest: 480, 512\)"),
        ((128, 0, 97, 24.0), r"height must be a multiple of 32; got 0 \(nearest: 32\)"),
        ((128, 64, 97, 0.0), "frame rate must be above 0 frames per second; got 0"),
        ((128, 64, 97, float("nan")), "frame rate must be above 0"),
    ],
)
def test_a_canvas_states_rule_value_and_cure(values, message):
    with pytest.raises(LTX2Error, match=message):
        Canvas(*values)


def test_states_are_fp32_whatever_others_keep_latents_in(clip):
    half = [{**latent, "samples": latent["samples"].half(), "noise_mask": None} for latent in clip]
    half[0]["noise_mask"] = torch.full((1, 1, 3, 2, 4), 0.5, dtype=torch.float16)
    video, audio = states_of(*half)
    assert {tensor.dtype for tensor in (video.latent, video.clean, video.mask, audio.latent)} == {torch.float32}


def test_half_size_needs_multiples_of_64():
    with pytest.raises(LTX2Error, match=r"width must be a multiple of 64 when the first stage works at 1/2"):
        empty(Canvas(96, 64, 9, 24.0), 2)


def test_results_carry_neither_masks_nor_conditions(clip):
    video, audio = clip
    video = with_conditions({**video, "noise_mask": torch.ones(1, 1, 3, 2, 4)}, (_guide(),))
    states = states_of(video, audio)
    assert states[0].latent.shape[1] > states[0].num_targets
    new_video, new_audio = latents_of(states, video, audio)
    assert set(new_video) == {"samples", KEY}
    assert new_video[KEY].conditions == ()
    assert new_video["samples"].shape == video["samples"].shape
    assert new_audio["samples"].shape == audio["samples"].shape


def _guide():
    return AppendedFrames(torch.ones(1, 128, 1, 2, 4), frame=8)


def test_conditions_do_not_change_the_latent_they_are_added_to(clip):
    video, _ = clip
    guided = with_conditions(video, (ReplacedFrames(torch.ones(1, 128, 1, 2, 4)),))
    assert clip_of(video).conditions == ()
    state = states_of(guided, None)[0]
    assert state.mask[0, :8].sum() == 0
    assert torch.equal(video["samples"], torch.zeros(1, 128, 3, 2, 4))


def test_a_dropped_frame_rate_is_refused_and_can_be_set_again(clip):
    video, audio = clip
    bare = {"samples": video["samples"]}
    with pytest.raises(LTX2Error, match="add LTX-2 Set Frame Rate"):
        states_of(bare, audio)
    assert states_of(with_frame_rate(bare, 25), audio)[0].num_targets == 24


def test_rates_and_lengths_must_agree(clip):
    video, audio = clip
    with pytest.raises(LTX2Error, match="one frame rate; got 25 and 30"):
        states_of(video, with_frame_rate(audio, 30.0))
    short = {**audio, "samples": audio["samples"][:, :, :-2]}
    with pytest.raises(LTX2Error, match="17 frames at 25 per second need 17 audio latents, got 15"):
        states_of(video, short)
    two = {**audio, "samples": audio["samples"].expand(2, -1, -1, -1)}
    with pytest.raises(LTX2Error, match="batches of 1 and 2"):
        states_of(video, two)
    with pytest.raises(LTX2Error, match="got neither"):
        states_of(None, None)


def test_swapped_and_foreign_latents_are_named(clip):
    video, audio = clip
    with pytest.raises(LTX2Error, match="are video and audio swapped"):
        samples_of(audio, "video")
    with pytest.raises(LTX2Error, match="LATENT with plain samples; got NoneType"):
        samples_of({}, "video")
    assert isinstance(video[KEY], Clip)


@pytest.mark.parametrize(
    "shape", [(1, 1, 3, 2, 4), (1, 1, 3, 1, 1), (1, 1, 64, 128), (17, 64, 128), (3, 64, 128), (1, 64, 128)]
)
def test_video_masks_in_every_form(clip, shape):
    video, _ = clip
    state = states_of({**video, "noise_mask": torch.zeros(shape)}, None)[0]
    assert state.mask.shape == (1, 24, 1)
    assert not state.mask.any()


def test_a_latent_is_generated_as_soon_as_one_of_its_frames_is():
    mask = torch.zeros(17, 64, 128)
    mask[9] = 1
    assert video_mask(mask, (3, 2, 4))[0, 0, :, 0, 0].tolist() == [0, 0, 1]
    with pytest.raises(LTX2Error, match="1, 3 or 17 frames; got 5"):
        video_mask(torch.zeros(5, 64, 128), (3, 2, 4))


def test_a_small_mark_counts_wherever_it_lies():
    mask = torch.zeros(1, 64, 128)
    mask[0, 63, 33] = 1
    assert video_mask(mask, (3, 2, 4))[0, 0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    coarse = torch.tensor([[[0.0, 1.0]]])  # smaller than the latent: each value holds for its part
    assert video_mask(coarse, (3, 2, 4))[0, 0, 0].tolist() == [[0, 0, 1, 1]] * 2


def test_audio_masks():
    assert audio_mask(torch.zeros(1, 17), 17).shape == (1, 1, 17, 1)
    with pytest.raises(LTX2Error, match="audio mask must be"):
        audio_mask(torch.zeros(1, 5), 17)
    assert audio_mask(torch.zeros(2, 17), 17, 2).shape == (2, 1, 17, 1)
    for shape in ((3, 17), (3, 1, 17, 1)):
        with pytest.raises(LTX2Error, match=r"an audio mask must be \[2, 1, 17, 1\] or \[2, 17\], .*; got \[3, 1"):
            audio_mask(torch.zeros(shape), 17, 2)
    with pytest.raises(LTX2Error, match="a video mask must be"):
        video_mask(torch.zeros(1, 0, 64), (3, 2, 4))


def test_masks_as_comfyui_delivers_them(clip):
    """SetLatentNoiseMask makes [F, 1, H, W] of one picture for each frame, and a pixel mask for sound."""
    video, audio = clip
    mask = torch.zeros(17, 1, 64, 128)
    mask[9:] = 1
    state = states_of({**video, "noise_mask": mask}, None)[0]
    assert state.mask[0, :, 0].tolist() == [0.0] * 16 + [1.0] * 8
    with pytest.raises(LTX2Error, match="pixel masks mean nothing for sound"):
        states_of(None, {**audio, "noise_mask": torch.ones(1, 1, 64, 128)})
    with pytest.raises(LTX2Error, match="make it for this latent"):
        states_of({**video, "noise_mask": torch.ones(2, 1, 5, 64, 128)}, None)


def test_a_feathered_mask_has_few_levels(clip):
    video, _ = clip
    soft = torch.rand(1, 1, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    mask = states_of({**video, "noise_mask": soft}, None)[0].mask
    assert torch.equal(mask, torch.round(soft.flatten(1)[..., None] * 255) / 255)
    many = video_mask(torch.rand(1, 1, 8, 40, 60), (8, 40, 60))
    assert len(many.unique()) <= 256


@pytest.mark.parametrize("rate", [24.0, 25.0, 30.0, 24000 / 1001])
@pytest.mark.parametrize("latents", [2, 3, 8, 16, 31])
def test_sound_still_fits_after_temporal_upsampling(rate, latents):
    frames = (latents - 1) * 8 + 1
    video, audio = empty(Canvas(64, 64, frames, rate), 1)
    faster = {"samples": torch.zeros(1, 128, 2 * latents - 1, 2, 2), KEY: Clip(rate * 2)}
    assert states_of(faster, audio)[0].num_targets == (2 * latents - 1) * 4
    assert states_of(video, audio)[1] is not None


@pytest.mark.parametrize("value", [None, 3, {}, []])
def test_constants_on_sockets_are_answered(value):
    for use in (clip_of, lambda latent: with_frame_rate(latent, 24.0), lambda latent: samples_of(latent, "video")):
        with pytest.raises(LTX2Error):
            use(value)


@pytest.mark.parametrize("rate", [24.0, 25.0])
def test_a_clip_cut_out_of_a_longer_one_begins_before_its_first_frame(clip, rate):
    video, audio = (with_frame_rate(latent, rate) for latent in clip)
    cut = ({**video, KEY: Clip(rate, continues=True)}, {**audio, KEY: Clip(rate, continues=True)})
    whole = states_of(video, None)[0], states_of(None, audio)[1]
    states = states_of(cut[0], None)[0], states_of(None, cut[1])[1]
    torch.testing.assert_close(states[0].positions[0, 0, 0] * rate, torch.tensor([-7.0, 1.0]))
    torch.testing.assert_close(states[1].positions[0, 0, 0], torch.tensor([-0.03, 0.01]))
    assert torch.equal(states[0].positions[:, :, 8:], whole[0].positions[:, :, 8:])
    assert torch.equal(states[1].positions[:, :, 1:], whole[1].positions[:, :, 1:])
    assert not states[0].keyframes.any()
    assert whole[0].keyframes[0, :, 0].tolist() == [1.0] * 8 + [0.0] * 16


def test_a_cut_clip_stays_one(clip):
    video, audio = ({**latent, KEY: Clip(25.0, (_guide(),), continues=True)} for latent in clip)
    assert with_frame_rate(video, 24.0)[KEY].continues
    assert with_conditions(video, ())[KEY].continues
    plain = {**audio, KEY: Clip(25.0, continues=True)}
    results = latents_of(states_of(video, plain), video, plain)
    for result in results:
        assert result[KEY].continues
        assert result[KEY].conditions == ()


def test_a_cut_clip_may_have_a_latent_of_sound_more_or_less(clip):
    video, audio = clip
    cut = {**video, KEY: Clip(25.0, continues=True)}
    shorter = {**audio, "samples": audio["samples"][:, :, :-1]}
    assert states_of(cut, shorter)[1].num_targets == 16
    with pytest.raises(LTX2Error, match="equally long"):
        states_of(video, shorter)


@dataclass(frozen=True)
class Voice:
    """A condition of sound: notes what it is applied to."""

    def apply(self, state, grid, frame_rate):
        assert (grid, frame_rate) == ((17,), 25.0)
        return state.appended(torch.full((1, 2, 128), 3.0), torch.zeros(1, 1, 2, 2), 0.0)


def test_sound_carries_conditions_too(clip):
    _, audio = clip
    voiced = with_conditions(audio, (Voice(),))
    state = states_of(None, voiced)[1]
    assert (state.num_targets, state.num_appended) == (17, 2)
    assert state.clean[0, 17:].eq(3).all()
    _, result = latents_of((None, state), None, voiced)
    assert result["samples"].shape == audio["samples"].shape
    assert result[KEY].conditions == ()


@pytest.mark.parametrize("mask", [torch.ones(1, 64, 64), torch.ones(1, 1, 1, 2, 2)])
def test_masks_without_values_are_refused(mask):
    mask[..., 0, 0] = float("nan")
    with pytest.raises(LTX2Error, match="every value of a mask must be a number; got NaN"):
        video_mask(mask, (1, 2, 2))
    with pytest.raises(LTX2Error, match="every value of a mask must be a number; got NaN"):
        audio_mask(torch.tensor([[1.0, float("nan")]]), 2)
