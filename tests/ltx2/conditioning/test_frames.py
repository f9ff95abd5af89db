"""Token states and frame conditions against the reference, exactly."""

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.tokens import audio_state, unflatten_audio, unflatten_video, video_state

GRID = (6, 2, 4)
FIELDS = {
    "latent": "latent",
    "clean": "clean_latent",
    "mask": "denoise_mask",
    "positions": "positions",
    "keyframes": "keyframes_mask",
}


@pytest.fixture(scope="module")
def case(golden):
    return golden("conditioning")


def check(case, key, state):
    expected = {field: case.outputs.get(f"{key}.{name}") for field, name in FIELDS.items()}
    assert expected["positions"] is not None
    for field, tensor in expected.items():
        if tensor is not None:
            # Positions must be equal: the fastest rotary frequency multiplies a difference by 15708.
            tolerance = 0 if field == "positions" else 1e-6
            torch.testing.assert_close(getattr(state, field), tensor, atol=tolerance, rtol=0)


CONDITIONS = {
    "image_frame0": lambda i: ReplacedFrames(i["image_latent"], strength=0.8),
    "image_latent2": lambda i: ReplacedFrames(i["clip_latent"], latent_index=2),
    "keyframe40": lambda i: AppendedFrames(i["keyframe_latent"], frame=40),
    "keyframe0": lambda i: AppendedFrames(i["keyframe_latent"], frame=0, strength=0.9),
    "keyframe_clip8": lambda i: AppendedFrames(i["clip_latent"], frame=8, num_frames=9),
}


@pytest.mark.parametrize("frame_rate", [24.0, 25.0])
@pytest.mark.parametrize("name", ["initial", *CONDITIONS])
def test_video_states(case, name, frame_rate):
    key = f"fps{int(frame_rate)}.{name}"
    if f"{key}.positions" not in case.outputs:
        key = f"fps24.{name}"
        frame_rate = 24.0
    state = video_state(case.inputs["initial_latent"], frame_rate)
    if name in CONDITIONS:
        state = CONDITIONS[name](case.inputs).apply(state, GRID, frame_rate)
    check(case, key, state)
    assert state.num_targets == 6 * 2 * 4


def test_audio_state(case):
    check(case, "audio_initial", audio_state(case.inputs["audio_initial"]))


@pytest.mark.parametrize("scale", [1.0, 0.909375])
def test_noise_is_mixed_into_the_start_and_the_clean_latent(case, scale):
    from ltx2.sampling.noise import noised

    state = video_state(case.inputs["initial_latent"], 24.0)
    for name in ("image_frame0", "keyframe40"):
        state = CONDITIONS[name](case.inputs).apply(state, GRID, 24.0)
    latent = noised(state, case.inputs["noise"], scale).latent
    torch.testing.assert_close(latent, case.outputs[f"noised_{scale}.latent"], atol=1e-6, rtol=0)


def test_tokens_and_back(case):
    video, audio = case.inputs["initial_latent"], case.inputs["audio_initial"]
    torch.testing.assert_close(unflatten_video(video_state(video, 24.0).targets(), GRID), video, atol=0, rtol=0)
    torch.testing.assert_close(unflatten_audio(audio_state(audio).targets(), 2), audio, atol=0, rtol=0)


def test_conditions_leave_their_input_alone(case):
    state = video_state(case.inputs["initial_latent"], 24.0)
    before = state.clean.clone(), state.mask.clone()
    for condition in CONDITIONS.values():
        condition(case.inputs).apply(state, GRID, 24.0)
    assert torch.equal(state.clean, before[0])
    assert torch.equal(state.mask, before[1])


def test_a_guide_of_another_size_is_refused(case):
    state = video_state(case.inputs["initial_latent"], 24.0)
    with pytest.raises(LTX2Error, match="apply the guides again"):
        ReplacedFrames(torch.zeros(1, 4, 1, 4, 8)).apply(state, GRID, 24.0)


@pytest.mark.parametrize("name", ["image_frame0", "keyframe40"])
def test_mask_of_a_video_latent(case, name):
    mask = torch.zeros(1, 1, 6, 1, 1)
    mask[:, :, 3:] = 1
    state = video_state(case.inputs["initial_latent"], 24.0, mask)
    assert state.mask[0, : 3 * 8].sum() == 0
    assert state.mask[0, 3 * 8 :].sum() == 3 * 8
