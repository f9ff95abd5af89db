"""The quantile function of the beta distribution, in plain floats; no dependency of the pack has it."""

from __future__ import annotations

import math

_TINY = 1e-300
_PRECISION = 1e-16
_TERMS = 500
_HALVINGS = 60


def quantile(p: float, a: float, b: float) -> float:
    """The x of [0, 1] below which a share `p` of the distribution Beta(a, b) lies, to 1e-15.

    Bisection: the distribution's density is infinite at the ends where a or b is below 1.
    """
    if p <= 0 or p >= 1:
        return float(p >= 1)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if cumulative(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def cumulative(x: float, a: float, b: float) -> float:
    """The share of Beta(a, b) below x: x^a (1 - x)^b / (a B(a, b)) times a continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # on the other side of the mode the fraction converges slowly
        return 1 - cumulative(1 - x, b, a)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 / (1 + d1 x / (1 + d2 x / (1 + ...))) by Lentz's method, which multiplies the ratios of its convergents."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(_TERMS):
        m = term // 2
        if term == 0:
            numerator = 1.0
        elif term % 2:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + numerator * d) or _TINY)
        c = (1 + numerator / c) or _TINY
        value *= c * d
        if abs(1 - c * d) < _PRECISION:
            break
    return value - 1  # Lentz's fraction begins with a one of its own
