"""Solvers of the flow from noise to clean latents. They know neither models nor masks.

Every solver has one signature: `solver(denoise, x, sigmas, injection)`. `denoise(x, sigma)` predicts x0. x is a tuple
with one tensor per modality (fp32), None where a modality is absent. `injection` is what stochastic solvers add.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

Latents = tuple[Tensor | None, ...]


class Prediction(NamedTuple):
    """What a model makes of noisy latents: x0, masked tokens pulled to their clean latents, and x0 for no prompt.

    `uncond` is the plain prediction for the negative prompt, or x0's own where guidance asks for none.
    """

    x0: Latents
    uncond: Latents


@dataclass(frozen=True, eq=False)
class Injection:
    """What stochastic solvers need.

    Attributes:
        noise: unit noise of (kind, step); the kind is "step" or "substep".
        blend: pulls masked tokens back to their clean latents after noise was added.
    """

    noise: Callable[[str, int], Latents]
    blend: Callable[[Latents], Latents]


Denoise = Callable[[Latents, float], Prediction]
Solver = Callable[[Denoise, Latents, Tensor, Injection], Latents]


def euler(denoise: Denoise, x: Latents, sigmas: Tensor, injection: Injection) -> Latents:
    """x <- x + (sigma' - sigma) v with v = (x - x0) / sigma."""
    for sigma, following in pairwise(sigmas.tolist()):
        x0 = denoise(x, sigma).x0
        x = each(lambda a, b, s=sigma, t=following: a + (a - b) / s * (t - s), x, x0)
    return x


def gradient_estimation(
    denoise: Denoise, x: Latents, sigmas: Tensor, injection: Injection, *, gamma: float = 2.0
) -> Latents:
    """Euler along v_hat = gamma (v - v_prev) + v_prev; the last step returns x0."""
    previous = None
    for sigma, following in pairwise(sigmas.tolist()):
        x0 = denoise(x, sigma).x0
        if following == 0:
            return x0
        v = each(lambda a, b, s=sigma: (a - b) / s, x, x0)
        estimate = v if previous is None else each(lambda a, b: gamma * (a - b) + b, v, previous)
        x = each(lambda a, b, step=following - sigma: a + b * step, x, estimate)
        previous = v
    return x


def euler_ancestral(denoise: Denoise, x: Latents, sigmas: Tensor, injection: Injection, *, eta: float = 1.0) -> Latents:
    """Euler down to sigma_d = sigma' (1 + (sigma' / sigma - 1) eta), then noise back up to sigma' (rectified flow)."""
    for step, (sigma, following) in enumerate(pairwise(sigmas.tolist())):
        x0 = denoise(x, sigma).x0
        if following == 0:
            return x0
        down = following * (1 + (following / sigma - 1) * eta)
        kept = (1 - following) / (1 - down)
        up = math.sqrt(max(0.0, following**2 - (down * kept) ** 2))
        x = each(
            lambda a, b, n, r=down / sigma, k=kept, u=up: k * (r * a + (1 - r) * b) + u * n,
            x,
            x0,
            injection.noise("step", step),
        )
        x = injection.blend(x)
    return x


def euler_cfg_pp(denoise: Denoise, x: Latents, sigmas: Tensor, injection: Injection, *, eta: float = 0.0) -> Latents:
    """CFG++: towards the guided x0, with the noise that the unconditional prediction implies.

    x <- (1 - sigma') x0 + sigma_d n, n = (x - (1 - sigma) uncond) / sigma; with eta, part of sigma' is fresh noise.
    """
    for step, (sigma, following) in enumerate(pairwise(sigmas.tolist())):
        x0, uncond = denoise(x, sigma)
        if following == 0:
            return x0
        down, up = _variance_preserving(sigma, following, eta)
        implied = each(lambda a, u, s=sigma: (a - (1 - s) * u) / s, x, uncond)
        x = each(lambda b, n, k=1 - following, d=down: k * b + d * n, x0, implied)
        if up:
            x = each(lambda a, n, u=up: a + u * n, x, injection.noise("step", step))
            x = injection.blend(x)
    return x


def _variance_preserving(sigma: float, following: float, eta: float) -> tuple[float, float]:
    """(noise kept, noise added) of sigma', by the ancestral rule on noise-to-signal ratios."""
    ratio = sigma / max(1 - sigma, 1e-12)
    target = following / (1 - following)
    up = min(target, eta * math.sqrt(target**2 * (1 - (target / ratio) ** 2)))
    return (1 - following) * math.sqrt(target**2 - up**2), (1 - following) * up


def each(function: Callable[..., Tensor], *latents: Latents) -> Latents:
    """`function` of the tensors of each modality; a modality that is absent stays absent."""
    return tuple(
        None if any(tensor is None for tensor in group) else function(*group) for group in zip(*latents, strict=True)
    )
