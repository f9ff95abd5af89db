"""A whole sampling run: checks, seeded noise, the denoiser and the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..networks.transformer.model import Transformer
from ..tokens import TokenState, unflatten_video
from .approximations import Approximation, approximations, warn
from .denoiser import Denoiser, Prompts
from .given_noise import with_given
from .noise import draw, step_noise
from .partial import continued, resumed
from .res_2s import res_2s
from .sample import States, sample, start
from .schedules import check_sigmas
from .solvers import Latents, Solver


@dataclass(frozen=True, eq=False)
class Run:
    """What came out, how many passes went through the transformer for it, how long that took, and what is not exact."""

    states: States
    passes: int
    seconds: float
    lossy: tuple[Approximation, ...] = ()


def run(
    transformer: Transformer,
    prompts: Prompts,
    states: States,
    latents: tuple[dict[str, Any] | None, dict[str, Any] | None],
    sigmas: Tensor,
    solver: Solver,
    seed: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    add_noise: bool = True,
    given_noise: Any = None,
    free_memory: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_x0: Callable[[Tensor], None] | None = None,
) -> Run:
    """Noise `states` at the first sigma and denoise them over `sigmas`.

    Args:
        latents: the (video, audio) LATENTs that the states came from; noise is drawn in their shapes.
        add_noise: False where `latents` are noisy already: where an unfinished run stopped, or of another node.
        given_noise: a host's NOISE, which makes what the run starts with instead of the seed.
        free_memory: bytes on the device beside the weights; None for plenty.
        on_step: called as by `sample`.
        on_x0: called with the video [B, C, F, H, W] that every prediction implies.

    Raises:
        LTX2Error: sigmas that do not fall from at most 1 towards 0, latents of another channel count, given noise in
            another shape, NaN results.
    """
    sigmas = check_sigmas(sigmas)
    _check_channels(transformer, states)
    video, audio = (None if latent is None else latent["samples"] for latent in latents)
    num_appended = tuple(state.num_appended if state else 0 for state in states)
    drawn = draw(seed, video, audio, num_appended)
    if given_noise is not None:
        drawn = with_given(drawn, given_noise, latents)
    noisy = start(states, drawn, float(sigmas[0]))
    noise = step_noise(seed, video, audio, num_appended, standardised=solver is res_2s)
    if not add_noise:
        noisy, noise = resumed(noisy, latents), continued(noise, latents)
    started = time.monotonic()
    with torch.no_grad():
        options = {"device": device, "dtype": dtype, "free_memory": free_memory, "num_steps": len(sigmas) - 1}
        denoiser = Denoiser(transformer, prompts, noisy, **options)
        warn(approximations(denoiser, prompts, sigmas))
        states = sample(denoiser, noisy, sigmas, solver, noise, on_step, _of_video(on_x0, noisy[0], video))
    seconds = time.monotonic() - started
    return Run(states, denoiser.num_passes, seconds, approximations(denoiser, prompts, sigmas))


def _check_channels(transformer: Transformer, states: States) -> None:
    for name, state in zip(("video", "audio"), states, strict=True):
        expected = getattr(transformer.config, name).in_channels
        if state is not None and state.latent.shape[-1] != expected:
            raise LTX2Error(
                f"a {name} latent must have {expected} features a token for this transformer; got "
                f"{state.latent.shape[-1]}: use latents made by LTX-2 nodes"
            )


def _of_video(
    on_x0: Callable[[Tensor], None] | None, state: TokenState | None, video: Tensor | None
) -> Callable[[Latents], None] | None:
    """`on_x0` for the tokens of all modalities, conditions included."""
    if on_x0 is None or state is None or video is None:
        return None
    count, grid = state.num_targets, tuple(video.shape[2:])
    return lambda x0: on_x0(unflatten_video(x0[0][:, :count], grid))
