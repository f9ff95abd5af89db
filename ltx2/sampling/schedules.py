"""Noise schedules: fp32 sigmas from 1 (noise) down to 0 (clean)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import LTX2Error

DEFAULT_TOKENS = 4096
#: The shift is linear in the token count through these two points.
_SHIFTS = ((1024, 0.95), (4096, 2.05))
_MAX_SHIFT = 80.0  # beyond it e^s is out of fp32's reach, and no schedule is left anyway

DISTILLED = {
    1: (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0),
    2: (0.909375, 0.725, 0.421875, 0.0),
}


def ltx2_schedule(steps: int, tokens: int = DEFAULT_TOKENS, *, terminal: float | None = 0.1) -> Tensor:
    """The schedule of the dev models, `steps` + 1 sigmas.

    sigma <- e^s / (e^s + 1 / sigma - 1) with a shift s that grows with the token count, then stretched so that the
    last sigma before 0 is `terminal`. The reference uses 4096 tokens whatever the resolution, except in its HQ
    pipeline.

    Raises:
        LTX2Error: fewer than 2 steps (with one step there is nothing to stretch), fewer than 1 token.
    """
    if steps < 2:
        raise LTX2Error(f"steps must be at least 2; got {steps} (usual: 40 for 2.0, 30 for 2.3)")
    if tokens < 1:
        raise LTX2Error(f"tokens must be at least 1; got {tokens} (the reference uses {DEFAULT_TOKENS})")
    (n1, s1), (n2, s2) = _SHIFTS
    slope = (s2 - s1) / (n2 - n1)
    power = math.exp(min(tokens * slope + s1 - slope * n1, _MAX_SHIFT))
    # In fp32, as the reference does it: with many tokens the first sigmas differ by its last bits.
    sigmas = torch.linspace(1.0, 0.0, steps + 1)
    sigmas = torch.where(sigmas != 0, power / (power + (1 / sigmas - 1)), 0.0)
    if terminal is not None:
        remaining = 1 - sigmas[:-1]
        scale = remaining[-1] / (1 - terminal)
        sigmas = torch.cat((1 - remaining / scale, sigmas[-1:]))
    if not bool((sigmas[1:] < sigmas[:-1]).all()):
        raise LTX2Error(
            f"a schedule shifted by its token count serves about 40,000 tokens; got {tokens:,}, and fp32 cannot tell "
            f"{steps} steps apart: leave the latent unconnected, as the reference does ({DEFAULT_TOKENS} tokens)"
        )
    return sigmas


def distilled_schedule(stage: int) -> Tensor:
    """The fixed schedule of the distilled models: 8 steps from noise (stage 1), or 3 after upsampling (stage 2).

    Raises:
        LTX2Error: another stage.
    """
    if stage not in DISTILLED:
        raise LTX2Error(f"stage must be 1 or 2; got {stage}")
    return torch.tensor(DISTILLED[stage])
