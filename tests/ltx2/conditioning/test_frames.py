"""Frame conditions: sizes, masks, batches, and tokens on their way there and back."""

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.tokens import audio_state, unflatten_audio, unflatten_video, video_state

GRID = (6, 2, 4)


@pytest.fixture(scope="module")
def case(golden):
    return golden("conditioning")


def test_tokens_and_back(case):
    video, audio = case.inputs["initial_latent"], case.inputs["audio_initial"]
    torch.testing.assert_close(unflatten_video(video_state(video, 24.0).targets(), GRID), video, atol=0, rtol=0)
    torch.testing.assert_close(unflatten_audio(audio_state(audio).targets(), 2), audio, atol=0, rtol=0)


@pytest.mark.parametrize("kind", [ReplacedFrames, lambda latent: AppendedFrames(latent, frame=8)])
def test_a_guide_of_another_size_is_refused(case, kind):
    state = video_state(case.inputs["initial_latent"], 24.0)
    with pytest.raises(LTX2Error, match="apply the guides again"):
        kind(torch.zeros(1, 4, 1, 4, 8)).apply(state, GRID, 24.0)


def test_mask_of_a_video_latent(case):
    mask = torch.zeros(1, 1, 6, 1, 1)
    mask[:, :, 3:] = 1
    state = video_state(case.inputs["initial_latent"], 24.0, mask)
    assert state.mask[0, : 3 * 8].sum() == 0
    assert state.mask[0, 3 * 8 :].sum() == 3 * 8


@pytest.mark.parametrize("kind", [ReplacedFrames, lambda latent: AppendedFrames(latent, frame=8)])
def test_one_guide_holds_for_every_clip_of_a_batch(case, kind):
    clips = case.inputs["initial_latent"].repeat(2, 1, 1, 1, 1)
    state = kind(case.inputs["image_latent"]).apply(video_state(clips, 24.0), GRID, 24.0)
    single = kind(case.inputs["image_latent"]).apply(video_state(clips[:1], 24.0), GRID, 24.0)
    for field in ("clean", "mask", "positions", "keyframes"):
        assert torch.equal(getattr(state, field), getattr(single, field).expand_as(getattr(state, field)))
