"""Change the sampling rate of a waveform with a Hann-windowed sinc, as the reference's audio front-end does.

Shapes: waveform (..., samples).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F

from ..errors import LTX2Error
from ..packages import rearrange

ZERO_CROSSINGS = 6
ROLLOFF = 0.99


def resample(waveform: torch.Tensor, from_rate: int, to_rate: int, *, edge: str = "constant") -> torch.Tensor:
    """`waveform` (..., samples) at `to_rate` instead of `from_rate` (Hz): ceil(samples * to / from) samples.

    `edge` is what the signal is continued with: "constant" (silence) or "replicate" (its first and last sample).
    Raises LTX2Error where a rate is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise LTX2Error(
            f"a sampling rate must be positive; got {from_rate} and {to_rate} Hz; give the audio's own rate"
        )
    divisor = math.gcd(from_rate, to_rate)
    old, new = from_rate // divisor, to_rate // divisor
    if old == new or not waveform.shape[-1]:
        return waveform
    kernels = sinc_kernels(old, new).to(waveform)
    width = (kernels.shape[-1] - old) // 2
    length = math.ceil(waveform.shape[-1] * new / old)
    flat = waveform.reshape(-1, 1, waveform.shape[-1])
    padded = F.pad(flat, (width, width + old), mode=edge)
    phases = F.conv1d(padded, kernels, stride=old)  # one output sample per phase and period of the two rates
    return rearrange(phases, "n phase period -> n (period phase)")[:, :length].reshape(*waveform.shape[:-1], length)


@lru_cache(maxsize=8)
def sinc_kernels(old: int, new: int) -> torch.Tensor:
    """The (new, 1, taps) kernels between coprime rates: w(t) sinc(t) scale, w(t) = cos^2(pi t / (2 * 6)).

    Computed in float32 on purpose: in float64 the result differs from the reference by more than the tolerance.
    """
    scale = min(old, new) * ROLLOFF
    width = math.ceil(ZERO_CROSSINGS * old / scale)
    with torch.inference_mode(False), torch.device("cpu"):
        offsets = torch.arange(-width, width + old, dtype=torch.float32)[None] / old
        phases = torch.arange(0, -new, -1, dtype=torch.float32)[:, None] / new
        t = ((phases + offsets) * scale).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
        window = torch.cos(t * math.pi / ZERO_CROSSINGS / 2) ** 2
        t = t * math.pi
        sinc = torch.where(t == 0, 1.0, t.sin() / t)
        return (sinc * window * (scale / old))[:, None]
