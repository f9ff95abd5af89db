"""Frame rates as exact fractions: a container counts time in whole ticks, so 23.976 has to be 24000/1001."""

from __future__ import annotations

import math
from fractions import Fraction

from ..errors import LTX2Error

_NTSC_NOMINAL = (24, 30, 48, 60, 120)
# Half the last digit of 23.98 and 59.94, as people write these rates. No other rate of a clip lies this close.
_NTSC_TOLERANCE = 0.005


def frame_rate_fraction(frame_rate: Fraction | float) -> Fraction:
    """The exact rate in frames per second that `frame_rate` means.

    A Fraction or whole number is itself; 23.976 (or 23.98), 29.97, 47.952, 59.94 and 119.88 are the NTSC rates
    n * 1000 / 1001; any other number is the nearest fraction with a denominator up to 1001.

    Raises: LTX2Error unless 0 < frame_rate <= 1000.
    """
    if not (math.isfinite(frame_rate) and 0 < frame_rate <= 1000):
        raise LTX2Error(f"frame rate must be above 0 and at most 1000; got {frame_rate}; most clips use 24 or 25")
    if isinstance(frame_rate, Fraction) or frame_rate == int(frame_rate):
        return Fraction(frame_rate)
    for nominal in _NTSC_NOMINAL:
        exact = Fraction(nominal * 1000, 1001)
        if abs(float(exact) - frame_rate) < _NTSC_TOLERANCE:
            return exact
    return Fraction(frame_rate).limit_denominator(1001)
