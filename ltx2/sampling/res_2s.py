"""res_2s: a second-order exponential integrator with noise injected at the midpoint and at the end of a step.

Coefficients, states within a step and noise are float64; between evaluations the state is fp32.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from .solvers import Denoise, Injection, Latents, each

#: Stands in for a final 0 (and for what lies just above it), where the logarithm ends; one more prediction there
#: gives the result.
_LAST = 0.0011
_ETA = 0.5
_REFINEMENTS = 100


def res_2s(denoise: Denoise, x: Latents, sigmas: Tensor, injection: Injection, *, refine: bool = True) -> Latents:
    """Two predictions a step: at sigma, and at the midpoint sqrt(sigma sigma'). `refine` corrects the anchor."""
    levels = sigmas.tolist()
    ends_at_zero = levels[-1] == 0
    if ends_at_zero:
        levels = [*(sigma for sigma in levels if sigma > _LAST), _LAST]
    for step, (sigma, following) in enumerate(pairwise(levels)):
        h, middle = math.log(sigma / following), math.sqrt(sigma * following)
        a21, b1, b2 = coefficients(h)
        anchor, first = _double(x), _double(denoise(x, sigma).x0)
        slope = each(lambda d, a: d - a, first, anchor)
        at_middle = each(lambda a, e, k=h * a21: a + k * e, anchor, slope)
        at_middle = _inject(injection, "substep", step, anchor, at_middle, sigma, middle)
        if refine and h < 0.5 and sigma > 0.03:
            for _ in range(_REFINEMENTS):
                before, anchor = anchor, each(lambda m, e, k=h * a21: m - k * e, at_middle, slope)
                slope = each(lambda d, a: d - a, first, anchor)
                if _are_equal(before, anchor):
                    break  # a fixed point: what follows would change no bit
        second = each(lambda d, a: d - a, _double(denoise(_single(at_middle), middle).x0), anchor)
        end = each(lambda a, p, q, u=h * b1, v=h * b2: a + u * p + v * q, anchor, slope, second)
        x = _single(_inject(injection, "step", step, anchor, end, sigma, following))
    return denoise(x, _LAST).x0 if ends_at_zero else x


def _are_equal(some: Latents, others: Latents) -> bool:
    return all(a is None or torch.equal(a, b) for a, b in zip(some, others, strict=True))


def coefficients(h: float) -> tuple[float, float, float]:
    """a21, b1, b2 of a step h = ln(sigma / sigma'), from phi1(z) = (e^z - 1) / z, phi2(z) = (e^z - 1 - z) / z^2."""
    a21 = 0.5 * _phi1(-h / 2)
    b2 = _phi2(-h) / 0.5
    return a21, _phi1(-h) - b2, b2


def _phi1(z: float) -> float:
    return (math.exp(z) - 1) / z


def _phi2(z: float) -> float:
    return (math.exp(z) - 1 - z) / z**2


def inject(x: Tensor, landed: Tensor, noise: Tensor, sigma: float, following: float) -> Tensor:
    """`landed` (where the deterministic step from x came to at sigma') with a share of its noise drawn anew."""
    up = min(_ETA * following, 0.9999 * following)
    rest = math.sqrt(following**2 - up**2)
    scale = (1 - following) + rest
    velocity = (x - landed) / (sigma - following)
    x0 = x - sigma * velocity
    return scale * (x0 + rest / scale * velocity) + up * noise


def _inject(
    injection: Injection, kind: str, step: int, x: Latents, landed: Latents, sigma: float, following: float
) -> Latents:
    noise = _double(injection.noise(kind, step))
    return injection.blend(each(lambda a, b, n: inject(a, b, n, sigma, following), x, landed, noise))


def _double(latents: Latents) -> Latents:
    return each(lambda tensor: tensor.double(), latents)


def _single(latents: Latents) -> Latents:
    return each(lambda tensor: tensor.float(), latents)
