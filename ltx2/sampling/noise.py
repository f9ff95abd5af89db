"""Seeded noise and how it enters a token state.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..geometry import MAX_SEED
from ..tokens import TokenState, flatten_audio, flatten_video

_SEED_OFFSETS = {"step": 10_000, "substep": 20_000}


def draw(
    seed: int, video: Tensor | None, audio: Tensor | None, num_appended: tuple[int, int] = (0, 0)
) -> tuple[Tensor | None, Tensor | None]:
    """Unit noise tokens for a video latent [B, C, F, H, W] and an audio latent [B, C, T, bins].

    One CPU generator, fp32, in the order of the latents, video then audio, then the tokens appended to the video, then
    those appended to the sound: the same on every device, and the noise that ComfyUI draws for the seed.

    Raises:
        LTX2Error: seed outside 0 to 2^53 - 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise LTX2Error(f"seed must be 0 to {MAX_SEED}; got {seed}")
    return _draw(torch.Generator().manual_seed(seed), video, audio, num_appended)


def step_noise(
    seed: int, video: Tensor | None, audio: Tensor | None, num_appended: tuple[int, int], *, standardised: bool
) -> Callable[[str, int], tuple[Tensor | None, Tensor | None]]:
    """What stochastic solvers draw, step by step: seeded apart from the start, and apart for each kind.

    Args:
        standardised: float64 noise whose mean and spread are set, over everything and then within each sample, as
            res_2s wants it.
    """
    generators = {kind: torch.Generator().manual_seed(seed + offset) for kind, offset in _SEED_OFFSETS.items()}

    def noise(kind: str, step: int) -> tuple[Tensor | None, Tensor | None]:
        drawn = _draw(generators[kind], video, audio, num_appended)
        if not standardised:
            return drawn
        return tuple(None if tokens is None else standardise(tokens.double()) for tokens in drawn)

    return noise


def standardise(noise: Tensor) -> Tensor:
    """(noise - mean) / std over everything, then over the last two axes (unbiased)."""
    noise = (noise - noise.mean()) / noise.std()
    return (noise - noise.mean((-2, -1), keepdim=True)) / noise.std((-2, -1), keepdim=True)


def _draw(
    generator: torch.Generator, video: Tensor | None, audio: Tensor | None, num_appended: tuple[int, int]
) -> tuple[Tensor | None, Tensor | None]:
    video_noise = audio_noise = None
    if video is not None:
        video_noise = flatten_video(torch.randn(video.shape, generator=generator))
    if audio is not None:
        audio_noise = flatten_audio(torch.randn(audio.shape, generator=generator))
    return tuple(
        None if tokens is None else _extended(tokens, count, generator)
        for tokens, count in zip((video_noise, audio_noise), num_appended, strict=True)
    )


def _extended(tokens: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(B, T, C) -> (B, T + count, C)"""
    if not count:
        return tokens
    more = torch.randn((tokens.shape[0], count, tokens.shape[2]), generator=generator)
    return torch.cat((tokens, more), 1)


def noised(state: TokenState, noise: Tensor, scale: float) -> TokenState:
    """`state` with noise (B, T, C) mixed in: lerp(latent, noise, scale), then lerp(clean, that, mask)."""
    start = torch.lerp(state.latent, noise, scale)
    return replace(state, latent=torch.lerp(state.clean, start, state.mask))
