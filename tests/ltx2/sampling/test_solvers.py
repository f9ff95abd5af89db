"""Solvers against the reference's trajectories and closed forms."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from ltx2.sampling.noise import standardise
from ltx2.sampling.res_2s import coefficients, inject, res_2s
from ltx2.sampling.solvers import (
    Injection,
    Prediction,
    euler,
    euler_ancestral,
    euler_cfg_pp,
    gradient_estimation,
)
from ltx2.sampling.table import SOLVERS

NAMES = ("video", "audio")
CASES = {
    "euler": (euler, "sigmas"),
    "euler_distilled": (euler, "sigmas_distilled"),
    "gradient_estimation": (gradient_estimation, "sigmas"),
    "euler_ancestral_rf": (euler_ancestral, "sigmas"),
    "euler_ancestral_rf_eta05": (partial(euler_ancestral, eta=0.5), "sigmas"),
    "cfg_pp": (euler_cfg_pp, "sigmas"),
    "cfg_pp_eta1": (partial(euler_cfg_pp, eta=1.0), "sigmas"),
    "res_2s": (res_2s, "sigmas"),
    "res_2s_no_refine": (partial(res_2s, refine=False), "sigmas"),
}


@pytest.fixture(scope="module")
def case(golden):
    return golden("samplers")


def blend(case, x):
    masks = [case.inputs[f"{name}_denoise_mask"] for name in NAMES]
    clean = [case.inputs[f"{name}_clean"] for name in NAMES]
    return tuple(a * m + c * (1 - m) for a, m, c in zip(x, masks, clean, strict=True))


def injection(case):
    inputs = case.inputs

    def noise(kind, step):
        suffix = "noise" if kind == "step" else "noise_substep"
        return tuple(inputs[f"{name}_{suffix}"][step] for name in NAMES)

    return Injection(noise, lambda x: blend(case, x))


def denoiser(case, calls):
    def denoise(x, sigma):
        calls.append((sigma, *x))
        s = torch.tensor(sigma)
        plain = (0.3 * x[0] * torch.cos(s) + 0.1, 0.25 * x[1] * torch.sin(1 + s) - 0.05)
        uncond = (0.8 * plain[0] - 0.02, 0.7 * plain[1] + 0.03)
        return Prediction(blend(case, plain), uncond)

    return denoise


@pytest.mark.parametrize("name", CASES)
def test_trajectories(case, name):
    solver, sigmas = CASES[name]
    calls = []
    start = tuple(case.inputs[f"{modality}_latent"] for modality in NAMES)
    results = solver(denoiser(case, calls), start, case.inputs[sigmas], injection(case))
    for number, modality in enumerate(NAMES):
        torch.testing.assert_close(results[number], case.outputs[f"{name}.{modality}"], atol=1e-5, rtol=0)
        seen = torch.stack([call[1 + number] for call in calls])
        torch.testing.assert_close(seen, case.outputs[f"{name}.{modality}_calls"], atol=1e-5, rtol=0)
    levels = torch.tensor([call[0] for call in calls])
    torch.testing.assert_close(levels, case.outputs[f"{name}.call_sigmas"], atol=1e-6, rtol=0)


def test_coefficients_of_res_2s(case):
    levels = [*case.inputs["sigmas"].double().tolist()[:-1], 0.0011]
    steps = [math.log(a / b) for a, b in pairwise(levels)]
    ours = torch.tensor([coefficients(h) for h in steps], dtype=torch.float64)
    torch.testing.assert_close(ours, case.outputs["res_2s_coefficients"], atol=1e-12, rtol=1e-7)


def test_noise_injection_of_res_2s(case):
    sigmas = case.inputs["sigmas"].tolist()
    x = case.inputs["video_latent"].double()
    x0 = 0.3 * x * torch.cos(torch.tensor(sigmas[1])) + 0.1
    out = inject(x, x0, case.inputs["video_noise"][0].double(), sigmas[1], sigmas[2])
    torch.testing.assert_close(out.float(), case.outputs["single.res_2s_sde"].float(), atol=1e-5, rtol=0)


def test_standardised_noise(case):
    ours = standardise(case.inputs["raw_noise"])
    torch.testing.assert_close(ours, case.outputs["normalised_noise"], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_constant_prediction_is_reached_exactly(name):
    x0 = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))
    constant = Prediction((x0, None), (x0, None))
    extra = Injection(lambda kind, step: (noise, None), lambda x: x)
    result, absent = SOLVERS[name](lambda x, sigma: constant, (noise, None), torch.linspace(1, 0, 6), extra)
    torch.testing.assert_close(result, x0, atol=1e-5, rtol=0)
    assert absent is None


@pytest.mark.parametrize("name", SOLVERS)
def test_a_schedule_may_end_above_zero(name):
    """Partial denoising: the rest of the noise is left for another run."""
    generator = torch.Generator().manual_seed(3)
    x0, noise = torch.zeros(1, 100, 100), torch.randn(1, 100, 100, generator=generator)
    extra = Injection(lambda kind, step: (torch.randn(1, 100, 100, generator=generator),), lambda x: x)
    constant = Prediction((x0,), (x0,))
    (result,) = SOLVERS[name](lambda x, sigma: constant, (0.9 * noise,), torch.tensor([0.9, 0.7, 0.5]), extra)
    assert 0.45 < result.std() < 0.55


MEAN, SPREAD = 0.7, 0.3


def posterior_mean(x, sigma):
    """The exact x0 for data that are normally distributed: linear in x."""
    share = (1 - sigma) * SPREAD**2 / spread_at(sigma) ** 2
    return Prediction(tuple(MEAN + share * (a - (1 - sigma) * MEAN) for a in x), x)


def spread_at(sigma):
    return math.sqrt(((1 - sigma) * SPREAD) ** 2 + sigma**2)


def flow(x, sigma, end):
    """Where the flow from x at sigma is at `end`, in closed form: x - (1 - sigma) MEAN scales with the spread."""
    return (1 - end) * MEAN + spread_at(end) / spread_at(sigma) * (x - (1 - sigma) * MEAN)


@pytest.mark.parametrize("name,order", [("euler", 1), ("euler_cfg_pp", 1), ("gradient_estimation", 1), ("res_2s", 2)])
def test_order_of_convergence(name, order, monkeypatch):
    """Halving the steps of the linear flow halves the error of first-order solvers, and quarters that of second order.

    Without its injected noise, for that converges in distribution only.
    """
    monkeypatch.setattr("ltx2.sampling.res_2s._ETA", 0.0)
    start = torch.tensor([[[1.5], [-2.0]]], dtype=torch.float64)
    still = Injection(lambda kind, step: (torch.zeros_like(start),), lambda x: x)

    def denoise(x, sigma):
        x0, _ = posterior_mean(x, sigma)
        return Prediction(x0, x0)

    errors = []
    for steps in (128, 256, 512):
        sigmas = torch.linspace(0.9, 0.2, steps + 1, dtype=torch.float64)
        (result,) = SOLVERS[name](denoise, (start,), sigmas, still)
        errors.append((result - flow(start, 0.9, 0.2)).abs().max().item())
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([order, order], abs=0.2)


def test_ancestral_sampling_keeps_the_distribution():
    """From the exact noisy distribution, with fresh noise in every step, to the exact data."""
    generator = torch.Generator().manual_seed(5)
    draw = lambda: torch.randn(1, 200, 200, generator=generator)  # noqa: E731
    extra = Injection(lambda kind, step: (draw(),), lambda x: x)
    (result,) = euler_ancestral(posterior_mean, (draw(),), torch.linspace(1, 0, 201) ** 2, extra)
    assert result.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.03)
