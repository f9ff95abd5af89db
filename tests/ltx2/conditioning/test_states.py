"""Token states under every condition against the reference, exactly; no output of the fixture is left unchecked."""

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.conditioning.references import ReferenceSound, ReferenceVideo
from ltx2.conditioning.slots import KeyframeSlots, generated_keyframes
from ltx2.editing.regions import retake
from ltx2.latents import KEY, Clip, states_of
from ltx2.sampling.noise import noised
from ltx2.tokens import audio_state, video_state

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


def half(inputs):
    return ReferenceVideo(inputs["reference_latent"], spatial=2, attention=torch.tensor([0.5]))


CONDITIONS = {
    "initial": lambda i: [],
    "image_frame0": lambda i: [ReplacedFrames(i["image_latent"], strength=0.8)],
    "image_latent2": lambda i: [ReplacedFrames(i["clip_latent"], latent_index=2)],
    "keyframe40": lambda i: [AppendedFrames(i["keyframe_latent"], frame=40)],
    "keyframe0": lambda i: [AppendedFrames(i["keyframe_latent"], frame=0, strength=0.9)],
    "keyframe_clip8": lambda i: [AppendedFrames(i["clip_latent"], frame=8, num_frames=9)],
    "reference_x2": lambda i: [ReferenceVideo(i["reference_latent"], spatial=2)],
    "reference_temporal4": lambda i: [ReferenceVideo(i["reference_latent_temporal"], strength=0.7, temporal=4)],
    "reference_attn": lambda i: [*CONDITIONS["image_frame0"](i), half(i), *CONDITIONS["keyframe40"](i)],
    "reference_attn_tokens": lambda i: [
        ReferenceVideo(i["reference_latent"], spatial=2, attention=i["cross_strength"])
    ],
    "slots": lambda i: [KeyframeSlots((8, 24))],
    "slots_initial": lambda i: [KeyframeSlots((8, 24), i["slot_initial"])],
    "combo": lambda i: [*CONDITIONS["image_frame0"](i), *CONDITIONS["keyframe40"](i), *CONDITIONS["slots"](i)],
}


def conditioned(inputs, name, frame_rate=24.0):
    state = video_state(inputs["initial_latent"], frame_rate)
    for condition in CONDITIONS[name](inputs):
        state = condition.apply(state, GRID, frame_rate)
    return state


def spatial_mask(inputs, frame_rate):
    masked = {"samples": inputs["initial_latent"], "noise_mask": 1 - inputs["region_mask"][:, None]}
    return states_of({**masked, KEY: Clip(frame_rate)}, None)[0]


def region_video(inputs, frame_rate):
    latent = {"samples": inputs["initial_latent"], KEY: Clip(frame_rate)}
    return states_of(*retake(latent, None, 0.5, 1.0))[0]


def region_audio(inputs):
    return states_of(*retake(None, {"samples": inputs["audio_initial"]}, 0.5, 1.0))[1]


VIDEO = {
    **{name: lambda i, rate, name=name: conditioned(i, name, rate) for name in CONDITIONS},
    "spatial_mask": spatial_mask,
    "region_video": region_video,
}
IN_25_FPS = ("initial", "keyframe40", "reference_temporal4", "region_video", "slots")
STATES = {
    **{f"fps24.{name}": lambda i, make=make: make(i, 24.0) for name, make in VIDEO.items()},
    **{f"fps25.{name}": lambda i, make=VIDEO[name]: make(i, 25.0) for name in IN_25_FPS},
    "audio_initial": lambda i: audio_state(i["audio_initial"]),
    "audio_region": region_audio,
    "audio_reference": lambda i: ReferenceSound(i["audio_reference"]).apply(
        audio_state(i["audio_initial"]), (43,), 24.0
    ),
}


def noisy(inputs, scale):
    state = video_state(inputs["initial_latent"], 24.0)
    for condition in (*CONDITIONS["image_frame0"](inputs), *CONDITIONS["keyframe40"](inputs)):
        state = condition.apply(state, GRID, 24.0)
    return noised(state, inputs["noise"], scale).latent


TENSORS = {
    "noised_1.0.latent": lambda i: noisy(i, 1.0),
    "noised_0.909375.latent": lambda i: noisy(i, 0.909375),
    "extracted_slots": lambda i: generated_keyframes(conditioned(i, "slots_initial"), GRID),
    "cleared.latent": lambda i: conditioned(i, "slots_initial").targets(),
}


@pytest.mark.parametrize("key", STATES)
def test_states(case, key):
    state = STATES[key](case.inputs)
    assert state.num_targets == (43 if key.startswith("audio") else 48)
    for field, name in FIELDS.items():
        expected = case.outputs.get(f"{key}.{name}")
        if expected is None:
            assert getattr(state, field) is None, field
        else:
            # Positions must be equal: the fastest rotary frequency multiplies a difference by 15708.
            tolerance = 0 if field == "positions" else 1e-6
            torch.testing.assert_close(getattr(state, field), expected, atol=tolerance, rtol=0)
    expected = case.outputs.get(f"{key}.attention_mask")
    assert (state.attention is None) == (expected is None)
    if expected is not None:
        weights = state.attention.rows(0, expected.shape[1], torch.zeros(1))[:, 0].exp()
        torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("key", TENSORS)
def test_tensors(case, key):
    torch.testing.assert_close(TENSORS[key](case.inputs), case.outputs[key], atol=1e-6, rtol=0)


def test_no_output_of_the_fixture_is_left_unchecked(case):
    fields = {f"{key}.{name}" for key in STATES for name in (*FIELDS.values(), "attention_mask")}
    assert set(case.outputs) - fields - set(TENSORS) == set()
    for key in STATES:
        assert f"{key}.positions" in case.outputs, key


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_leave_their_input_alone(case, name):
    state = video_state(case.inputs["initial_latent"], 24.0)
    inputs = {key: tensor.clone() for key, tensor in case.inputs.items()}
    before = {field: getattr(state, field).clone() for field in FIELDS}
    for condition in CONDITIONS[name](inputs):
        condition.apply(state, GRID, 24.0)
    for field, tensor in before.items():
        assert torch.equal(getattr(state, field), tensor)
    for key, tensor in inputs.items():
        assert torch.equal(tensor, case.inputs[key])
