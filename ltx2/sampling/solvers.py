"""Solvers of the flow from noise to clean latents. They know neither models nor masks.

Every solver has one signature: `solver(denoise, x, sigmas)`, where `denoise(x, sigma)` predicts x0. x is a tuple with
one tensor per modality (fp32), None where a modality is absent or not sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

Latents = tuple[Tensor | None, ...]
Denoise = Callable[[Latents, float], Latents]
Solver = Callable[[Denoise, Latents, Tensor], Latents]


def euler(denoise: Denoise, x: Latents, sigmas: Tensor) -> Latents:
    """x <- x + (sigma' - sigma) * (x - x0) / sigma."""
    for sigma, sigma_next in pairwise(sigmas.tolist()):
        x0 = denoise(x, sigma)
        x = tuple(_euler_step(a, b, sigma, sigma_next) for a, b in zip(x, x0, strict=True))
    return x


def _euler_step(x: Tensor | None, x0: Tensor | None, sigma: float, sigma_next: float) -> Tensor | None:
    if x is None or x0 is None:
        return x
    return x + (x - x0) / sigma * (sigma_next - sigma)


#: By the name that the Sample node shows.
SOLVERS: dict[str, Solver] = {"euler": euler}
