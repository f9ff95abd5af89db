"""Positions of clips, of what continues a longer one and of references; tokens that are appended."""

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.tokens import (
    audio_positions,
    audio_state,
    frame_positions,
    reference_positions,
    video_positions,
    video_state,
    voice_positions,
)

RATES = [24.0, 25.0, 24000 / 1001, 30.0]


@pytest.mark.parametrize("rate", RATES)
def test_a_reference_of_full_size_stands_where_the_clip_stands(rate):
    assert torch.equal(reference_positions((4, 2, 3), rate), video_positions((4, 2, 3), rate))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("temporal", [2, 4, 8])
def test_a_sparse_reference_covers_the_frames_that_it_was_taken_from(rate, temporal):
    times = reference_positions((3, 1, 1), rate, temporal=temporal)[0, 0] * rate
    expected = torch.tensor([[0, 1], [1, 1 + 8 * temporal], [1 + 8 * temporal, 1 + 16 * temporal]])
    torch.testing.assert_close(times, expected.float(), atol=1e-4, rtol=0)


def test_a_coarse_reference_covers_the_same_pixels():
    own, coarse = video_positions((2, 4, 6), 24.0), reference_positions((2, 2, 3), 24.0, spatial=2)
    assert torch.equal(own[0, 1:].amax((1, 2)), coarse[0, 1:].amax((1, 2)))
    assert coarse[0, 1, 0].tolist() == [0.0, 64.0]


def test_a_part_of_a_clip_stands_where_it_stood_up_to_its_start():
    rate = 24.0
    whole, part = video_positions((9, 1, 1), rate)[0, 0], video_positions((5, 1, 1), rate, continues=True)[0, 0]
    torch.testing.assert_close(part + 4 * 8 / rate, whole[4:])
    whole, part = audio_positions(20)[0, 0], audio_positions(13, continues=True)[0, 0]
    torch.testing.assert_close(part + 7 * 0.04, whole[7:])


def test_a_voice_ends_just_before_the_clip():
    positions = voice_positions(9)[0, 0]
    assert positions[-1, 1].item() == pytest.approx(-0.04)
    torch.testing.assert_close(positions - positions[0, 0], audio_positions(9)[0, 0])


def test_single_frames_last_one_frame():
    times = frame_positions(13, 1, (1, 1, 1), 25.0)[0, 0, 0] * 25
    torch.testing.assert_close(times, torch.tensor([13.0, 14.0]))


def test_appended_tokens_stand_behind_the_clip_for_every_clip_of_a_batch():
    state = video_state(torch.zeros(2, 4, 2, 1, 1), 24.0)
    clean = torch.ones(1, 3, 4)
    grown = state.appended(clean, torch.zeros(1, 3, 3, 2), 0.25, latent=2 * clean, keyframe=1.0)
    assert (grown.num_targets, grown.num_appended, state.num_appended) == (2, 3, 0)
    for tensor, value in ((grown.clean, 1), (grown.latent, 2), (grown.mask, 0.25), (grown.keyframes, 1)):
        assert tensor.shape[0] == 2
        assert tensor[:, 2:].eq(value).all()
    assert torch.equal(grown.targets(), state.latent)
    assert audio_state(torch.zeros(1, 2, 3, 2)).appended(clean, torch.zeros(1, 1, 3, 2), 0.0).keyframes is None


@pytest.mark.parametrize("shape", [(3, 3, 4), (1, 3, 5)])
def test_conditions_of_other_clips_or_models_are_refused(shape):
    state = video_state(torch.zeros(2, 4, 2, 1, 1), 24.0)
    with pytest.raises(LTX2Error, match=rf"for 2 clips .* of 4 features a token; got {shape[0]} of {shape[2]}"):
        state.appended(torch.ones(shape), torch.zeros(1, 3, 3, 2), 0.0)
