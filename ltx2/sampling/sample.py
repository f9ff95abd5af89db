"""The loop: noise in, solver over the schedule, latents out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..tokens import TokenState
from .denoiser import Denoiser
from .noise import noised
from .schedules import step_at
from .solvers import Injection, Latents, Prediction, Solver

States = tuple[TokenState | None, TokenState | None]


def start(states: States, noise: tuple[Tensor | None, Tensor | None], sigma: float) -> States:
    """The states with noise at the schedule's first sigma."""
    return tuple(noised(state, unit, sigma) if state else None for state, unit in zip(states, noise, strict=True))


def sample(
    denoiser: Denoiser,
    states: States,
    sigmas: Tensor,
    solver: Solver,
    noise: Callable[[str, int], Latents] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_x0: Callable[[Latents], None] | None = None,
) -> States:
    """Run `solver` over `sigmas` from noised `states`; returns them denoised.

    `noise(kind, step)` is the unit noise that stochastic solvers add. `on_step(done, total)`, in predictions, is
    called before every prediction and after the last; it may raise to stop. `on_x0` is called with every prediction.

    Raises:
        LTX2Error: NaN or infinite latents come out.
    """
    done, total = 0, num_predictions(solver, sigmas)

    def denoise(x: Latents, sigma: float) -> Prediction:
        nonlocal done
        if on_step:
            on_step(done, total)
        prediction = denoiser(x, sigma, step_at(sigmas, sigma))
        done += 1
        if on_x0:
            on_x0(prediction.x0)
        return prediction

    def no_noise(kind: str, step: int) -> Latents:
        raise AssertionError("a stochastic solver needs noise")

    # In one layout, whatever they were made of: rounding in matrix products depends on it, and parts must be one run.
    start_latents = tuple(state.latent.contiguous() if state else None for state in states)
    latents = solver(denoise, start_latents, sigmas, Injection(noise or no_noise, denoiser.blend))
    if on_step:
        on_step(total, total)
    for name, latent in zip(("video", "audio"), latents, strict=True):
        if latent is not None and not torch.isfinite(latent).all():
            raise LTX2Error(
                f"sampling must yield finite {name} latents; got NaN or infinity: check the model file, "
                "LoRA strengths and guidance scales"
            )
    return tuple(
        replace(state, latent=latent) if state else None for state, latent in zip(states, latents, strict=True)
    )


def num_predictions(solver: Solver, sigmas: Tensor) -> int:
    """How many predictions `solver` asks for over `sigmas`: it is run on a single number, without a model."""
    count = 0
    nothing = (torch.zeros(1),)

    def denoise(x: Latents, _sigma: float) -> Prediction:
        nonlocal count
        count += 1
        return Prediction(x, x)

    solver(denoise, nothing, sigmas, Injection(lambda _kind, _step: nothing, lambda x: x))
    return count
