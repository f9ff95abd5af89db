"""Solvers against the reference's trajectories and a closed form."""

import pytest
import torch

from ltx2.sampling.solvers import SOLVERS, euler


@pytest.fixture(scope="module")
def case(golden):
    return golden("samplers")


def denoiser(case, calls):
    inputs = case.inputs

    def denoise(x, sigma):
        calls.append((sigma, *x))
        s = torch.tensor(sigma)
        x0 = (0.3 * x[0] * torch.cos(s) + 0.1, 0.25 * x[1] * torch.sin(1 + s) - 0.05)
        return tuple(
            a * inputs[f"{name}_denoise_mask"] + inputs[f"{name}_clean"] * (1 - inputs[f"{name}_denoise_mask"])
            for name, a in zip(("video", "audio"), x0, strict=True)
        )

    return denoise


@pytest.mark.parametrize(("name", "sigmas"), [("euler", "sigmas"), ("euler_distilled", "sigmas_distilled")])
def test_euler(case, name, sigmas):
    calls = []
    start = (case.inputs["video_latent"], case.inputs["audio_latent"])
    results = euler(denoiser(case, calls), start, case.inputs[sigmas])
    for number, modality in enumerate(("video", "audio")):
        torch.testing.assert_close(results[number], case.outputs[f"{name}.{modality}"], atol=1e-5, rtol=0)
        seen = torch.stack([call[1 + number] for call in calls])
        torch.testing.assert_close(seen, case.outputs[f"{name}.{modality}_calls"], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.tensor([call[0] for call in calls]), case.outputs[f"{name}.call_sigmas"], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_constant_prediction_is_reached_exactly(name):
    x0 = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))
    result, absent = SOLVERS[name](lambda x, sigma: (x0, None), (noise, None), torch.linspace(1, 0, 6))
    torch.testing.assert_close(result, x0, atol=1e-5, rtol=0)
    assert absent is None
