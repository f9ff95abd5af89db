"""Noise schedules: fp32 sigmas from 1 (noise) down to 0 (clean); their slices, and what makes a list of them valid."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from .beta import quantile

logger = logging.getLogger("ltx2")

DEFAULT_TOKENS = 4096
#: The shift is linear in the token count through these two points.
_SHIFTS = ((1024, 0.95), (4096, 2.05))
_MAX_SHIFT = 80.0  # beyond it e^s is out of fp32's reach, and no schedule is left anyway

_QUADRATIC_FROM = 0.025  # how much noise the linear half of the linear-quadratic schedule removes
_BETA_SHIFT, _BETA_LEVELS = 2.37, 10_000
_SHOWN = 12  # sigmas that an error lists
_ROUNDING = 1e-5  # how far above 1 other nodes' arithmetic may put the first sigma

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


def linear_quadratic_schedule(steps: int) -> Tensor:
    """`steps` + 1 sigmas: equal small steps from 1 down to 0.975, then a parabola to 0 that goes on at the same slope.

    With 8 steps it is stage 1 of the distilled models.

    Raises:
        LTX2Error: fewer than 1 step.
    """
    _check_steps(steps)
    linear = steps // 2
    curved = steps - linear
    if not linear:
        return torch.tensor([1.0, 0.0])
    slope = _QUADRATIC_FROM / linear
    bend = (1 - _QUADRATIC_FROM - slope * curved) / curved**2
    removed = [slope * i for i in range(linear)]
    removed += [_QUADRATIC_FROM + slope * i + bend * i**2 for i in range(curved)]
    return torch.tensor([*(1 - each for each in removed), 0.0])


def beta_schedule(steps: int, alpha: float = 0.6, beta: float = 0.6) -> Tensor:
    """At most `steps` + 1 sigmas: quantiles of a beta distribution on a grid of 10,000 shifted noise levels.

    Steps are dense where the distribution is: with alpha and beta below 1 at both ends. Quantiles that meet in one
    level of the grid give one sigma (from about 550 steps on, with the defaults).

    Raises:
        LTX2Error: fewer than 1 step; alpha or beta outside (0, 50].
    """
    _check_steps(steps)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value <= 50:
            raise LTX2Error(f"{name} must be above 0 and at most 50; got {value:g} (usual: 0.6)")
    # Rounded before the grid: a quantile of one half lies exactly between two levels.
    quantiles = (round(quantile(1 - i / steps, alpha, beta), 12) for i in range(steps))
    levels = dict.fromkeys(round(each * (_BETA_LEVELS - 1)) for each in quantiles)
    power = math.exp(_BETA_SHIFT)
    return torch.tensor([*(power / (power + _BETA_LEVELS / (level + 1) - 1) for level in levels), 0.0])


def manual_schedule(text: str) -> Tensor:
    """The sigmas of a list such as "1, 0.99, 0.5, 0": numbers between commas, semicolons or white space.

    Raises:
        LTX2Error: no numbers, or none that fall from at most 1 to at least 0.
    """
    words = text.replace(",", " ").replace(";", " ").split()
    try:
        sigmas = [float(word) for word in words]
    except ValueError as error:
        wrong = str(error).partition(": ")[2]
        raise LTX2Error(
            f"sigmas must be numbers with commas between them; got {wrong}: write 1, 0.975, 0.725, 0"
        ) from None
    if len(sigmas) < 2:
        raise LTX2Error(f"at least two sigmas must be listed; got {len(sigmas)}: write 1, 0.975, 0.725, 0")
    check_sigmas(torch.tensor(sigmas))
    return torch.tensor(sigmas)


def slice_schedule(sigmas: Any, start_step: int, end_step: int = -1, denoise: float = 1.0) -> Tensor:
    """The sigmas of steps `start_step` to `end_step` (not included), counted from 0, and of these the last part.

    Args:
        end_step: -1, or any number beyond the last step, is the end of the schedule.
        denoise: 0 to 1, the share of the chosen steps that is kept, from their end; at least one step is.

    Raises:
        LTX2Error: sigmas that are none; no step between start and end; numbers out of range.
    """
    sigmas = _list_of_sigmas(sigmas)
    steps = len(sigmas) - 1
    if end_step < -1:
        raise LTX2Error(f"end_step must be -1 (the end) or a step; got {end_step}: steps are counted from 0")
    if not 0 < denoise <= 1:
        raise LTX2Error(f"denoise must be above 0 and at most 1; got {denoise:g} (1 keeps all steps)")
    end = steps if end_step == -1 else min(end_step, steps)
    if not 0 <= start_step < end:
        raise LTX2Error(
            f"start_step must be at least 0 and before the end; got {start_step} to {end} of {steps} steps: choose "
            f"0 to {max(end - 1, 0)}"
        )
    kept = max(1, round((end - start_step) * denoise))
    return sigmas[end - kept : end + 1].clone()


def step_at(sigmas: Tensor, sigma: float) -> int:
    """The step, from 0, that a prediction at `sigma` is made in; one that ends a run is made in its last step."""
    return max(0, int((sigmas[:-1] >= sigma).sum()) - 1)


def check_sigmas(sigmas: Any) -> Tensor:
    """`sigmas` of any source as the solvers take them: fp32 on the CPU, strictly falling, the first one at most 1.

    A first sigma above 1 by rounding is 1, and sigmas that repeat are taken once: a step between them has no length.

    Raises:
        LTX2Error: sigmas that do not fall from at most 1 to at least 0.
    """
    sigmas = _list_of_sigmas(sigmas)
    sigmas = torch.where((sigmas > 1) & (sigmas <= 1 + _ROUNDING), 1.0, sigmas)
    if not bool((sigmas[1:] <= sigmas[:-1]).all()) or sigmas[0] > 1 or sigmas[-1] < 0 or sigmas[0] == sigmas[-1]:
        shown = ", ".join(f"{sigma:g}" for sigma in sigmas[:_SHOWN].tolist())
        raise LTX2Error(
            f"sigmas must fall from at most 1 to at least 0; got {shown}{', ...' * (len(sigmas) > _SHOWN)}: connect "
            "LTX-2 Schedule, or a scheduler that is given an LTX-2 model"
        )
    distinct = torch.unique_consecutive(sigmas)
    if len(distinct) < len(sigmas):
        logger.info("%d noise levels of the schedule repeat and are taken once", len(sigmas) - len(distinct))
    return distinct


def _list_of_sigmas(sigmas: Any) -> Tensor:
    if not isinstance(sigmas, Tensor) or sigmas.ndim != 1 or len(sigmas) < 2:
        got = f"a tensor {list(sigmas.shape)}" if isinstance(sigmas, Tensor) else type(sigmas).__name__
        raise LTX2Error(f"sigmas must be a list of at least two noise levels; got {got}: connect LTX-2 Schedule")
    return sigmas.float().cpu()


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise LTX2Error(f"steps must be at least 1; got {steps}")
