"""One modality kept while the other is generated, and one alone: bit-equal, and without any trace of the other."""

from __future__ import annotations

import pytest
import torch

from ltx2.encoding import frozen
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import NEUTRAL, Guidance
from ltx2.latents import Clip, latents_of, states_of
from ltx2.sampling.denoiser import Context, Prompts
from ltx2.sampling.run import run
from ltx2.sampling.table import SOLVERS

GRID = (3, 2, 4)
SIGMAS = torch.tensor([1.0, 0.9, 0.6, 0.3, 0.0])
GUIDED = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0, rescale=0.7)


@pytest.fixture(scope="module", params=["end_to_end_20", "end_to_end_23"])
def case(request, golden):
    return golden(request.param)


def latent(*shape: int, seed: int) -> dict:
    samples = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return {"samples": samples, "ltx2": Clip(24.0)}


def video(seed: int = 1) -> dict:
    return latent(1, 16, *GRID, seed=seed)


def audio(seed: int = 2) -> dict:
    return latent(1, 3, 18, 4, seed=seed)


def sampled(case, network, video, audio, solver="euler", scales=(NEUTRAL, NEUTRAL), seed=5, sound_context=None):
    inputs = case.inputs
    prompts = Prompts(
        Context(inputs["video_context"], inputs["audio_context"] if sound_context is None else sound_context),
        Context(inputs["video_negative_context"], inputs["audio_negative_context"]),
        *scales,
    )
    device = torch.device("cpu")
    options = {"device": device, "dtype": torch.float32, "on_step": lambda done, total: None}
    done = run(network, prompts, states_of(video, audio), (video, audio), SIGMAS, SOLVERS[solver], seed, **options)
    return latents_of(done.states, video, audio)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kept", ["video", "audio"])
def test_what_is_frozen_stays_to_the_bit(case, network, solver, kept):
    given = {"video": video(), "audio": audio()}
    given[kept] = frozen(given[kept])
    results = dict(zip(given, sampled(case, network, **given, solver=solver), strict=True))
    (made,) = set(given) - {kept}
    assert torch.equal(results[kept]["samples"], given[kept]["samples"])
    assert torch.isfinite(results[made]["samples"]).all()
    assert not torch.equal(results[made]["samples"], given[made]["samples"])


@pytest.mark.parametrize("kept", ["video", "audio"])
def test_what_is_frozen_stays_under_guidance_of_the_other(case, network, kept):
    given = {"video": video(), "audio": audio()}
    given[kept] = frozen(given[kept])
    scales = (NEUTRAL, GUIDED) if kept == "video" else (GUIDED, NEUTRAL)
    results = dict(zip(given, sampled(case, network, **given, scales=scales), strict=True))
    assert torch.equal(results[kept]["samples"], given[kept]["samples"])


@pytest.mark.parametrize("kept", ["video", "audio"])
def test_what_is_made_follows_what_is_frozen(case, network, kept):
    made = []
    for seed in (11, 12):
        given = {"video": video(), "audio": audio()}
        given[kept] = frozen({"video": video, "audio": audio}[kept](seed))
        results = dict(zip(given, sampled(case, network, **given), strict=True))
        (other,) = set(given) - {kept}
        made.append(results[other]["samples"])
    assert not torch.allclose(*made, atol=1e-3)


@pytest.mark.parametrize("scales", [(NEUTRAL, NEUTRAL), (GUIDED, GUIDED)])
def test_sound_alone(case, network, scales):
    results = sampled(case, network, None, audio(), scales=scales)
    assert results[0] is None
    assert results[1]["samples"].shape == audio()["samples"].shape
    assert torch.isfinite(results[1]["samples"]).all()
    assert results[1]["ltx2"].frame_rate == 24.0
    again = sampled(case, network, None, audio(), scales=scales)
    assert torch.equal(results[1]["samples"], again[1]["samples"])
    other = sampled(case, network, None, audio(), scales=scales, sound_context=case.inputs["audio_negative_context"])
    assert not torch.allclose(results[1]["samples"], other[1]["samples"], atol=1e-3), "the prompt must be heard"


@pytest.mark.parametrize("scales", [(NEUTRAL, NEUTRAL), (GUIDED, GUIDED)])
def test_video_alone_knows_nothing_of_sound(case, network, scales):
    results = sampled(case, network, video(), None, scales=scales)
    assert results[1] is None
    assert torch.isfinite(results[0]["samples"]).all()
    nothing = torch.zeros_like(case.inputs["audio_context"])
    deaf = sampled(case, network, video(), None, scales=scales, sound_context=nothing)
    assert torch.equal(results[0]["samples"], deaf[0]["samples"])
    with_sound = sampled(case, network, video(), audio(), scales=scales)
    assert not torch.allclose(results[0]["samples"], with_sound[0]["samples"], atol=1e-3)


def test_latents_in_each_others_place_are_refused():
    with pytest.raises(LTX2Error, match="video latent must be .*: are video and audio swapped"):
        states_of(audio(), None)
    with pytest.raises(LTX2Error, match="audio latent must be .*: are video and audio swapped"):
        states_of(None, video())
