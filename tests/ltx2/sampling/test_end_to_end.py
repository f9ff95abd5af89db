"""Whole runs with the tiny transformers: passes of the first step, guided, unguided and conditioned sampling."""

import pytest
import torch

from ltx2.conditioning.frames import ReplacedFrames
from ltx2.guidance.guidance import NEUTRAL, Guidance
from ltx2.guidance.plan import plan
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.sample import sample, start
from ltx2.sampling.solvers import euler, euler_ancestral
from ltx2.tokens import audio_state, unflatten_audio, unflatten_video, video_state

GRID = (3, 2, 4)
TOLERANCE = {"atol": 2e-4, "rtol": 0}


@pytest.fixture(scope="module", params=["end_to_end_20", "end_to_end_23", "end_to_end_25"])
def case(request, golden):
    return golden(request.param)


def guidance(params):
    return Guidance(
        cfg=params["cfg_scale"],
        stg=params["stg_scale"],
        stg_blocks=frozenset(params["stg_blocks"]),
        modality=params["modality_scale"],
        rescale=params["rescale_scale"],
    )


def prepare(case, network, variant):
    """(denoiser, states with noise) of a variant."""
    inputs = case.inputs
    video = video_state(torch.zeros(1, 16, *GRID), 24.0)
    audio = audio_state(torch.zeros(1, 3, 7, 4))
    if variant == "i2v":
        video = ReplacedFrames(inputs["image_latent"], strength=0.8).apply(video, GRID, 24.0)
    if variant == "a2v":
        audio = audio_state(inputs["audio_clean"], torch.zeros(1, 1, 7, 1))
    scales = (NEUTRAL, NEUTRAL)
    if variant != "unguided":
        scales = (guidance(case.params["video_guidance"]), guidance(case.params["audio_guidance"]))
    if variant == "a2v":
        scales = (scales[0], NEUTRAL)
    prompts = Prompts(
        Context(inputs["video_context"], inputs["audio_context"]),
        Context(inputs["video_negative_context"], inputs["audio_negative_context"]),
        *scales,
    )
    states = start((video, audio), (inputs["video_noise"], inputs["audio_noise"]), 1.0)
    return Denoiser(network, prompts, states), states


@pytest.mark.parametrize("variant", ["t2v", "i2v"])
def test_passes_of_the_first_step(case, network, variant):
    denoiser, states = prepare(case, network, variant)
    predictions = denoiser.predictions(tuple(state.latent for state in states), 1.0, plan(*denoiser.guidance))
    for name, by_pass in zip(("video", "audio"), predictions, strict=True):
        assert list(by_pass) == ["cond", "uncond", "perturbed", "isolated"]
        for one, x0 in by_pass.items():
            torch.testing.assert_close(x0, case.outputs[f"{variant}.step0.{name}.{one}"], **TOLERANCE)


@pytest.mark.parametrize("variant", ["unguided", "t2v", "i2v", "a2v"])
def test_sampling(case, network, variant):
    denoiser, states = prepare(case, network, variant)
    results = sample(denoiser, states, case.inputs["sigmas"], euler)
    latents = (unflatten_video(results[0].targets(), GRID), unflatten_audio(results[1].targets(), 3))
    for name, state, latent in zip(("video", "audio"), results, latents, strict=True):
        torch.testing.assert_close(state.latent, case.outputs[f"{variant}.{name}"], **TOLERANCE)
        assert latent.numel() == state.latent.numel()


def test_ancestral_sampling(case, network):
    denoiser, states = prepare(case, network, "unguided")
    inputs = case.inputs
    noise = lambda kind, step: (inputs["video_step_noise"][step], inputs["audio_step_noise"][step])  # noqa: E731
    results = sample(denoiser, states, inputs["sigmas"], euler_ancestral, noise)
    for name, state in zip(("video", "audio"), results, strict=True):
        torch.testing.assert_close(state.latent, case.outputs[f"ancestral.{name}"], **TOLERANCE)


@pytest.mark.parametrize("kept", [0, 1])
def test_one_modality_alone(case, network, kept):
    denoiser, states = prepare(case, network, "unguided")
    alone = tuple(state if number == kept else None for number, state in enumerate(states))
    prompts = Prompts(Context(case.inputs["video_context"], case.inputs["audio_context"]))
    results = sample(Denoiser(network, prompts, alone), alone, case.inputs["sigmas"], euler)
    assert results[1 - kept] is None
    assert torch.isfinite(results[kept].latent).all()
    assert not torch.allclose(results[kept].latent, states[kept].latent)


def test_progress_and_stopping(case, network):
    denoiser, states = prepare(case, network, "unguided")
    seen = []
    sample(denoiser, states, case.inputs["sigmas"], euler, None, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]

    class Stopped(BaseException):
        pass

    def stop(done, total):
        if done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        sample(denoiser, states, case.inputs["sigmas"], euler, None, stop)
