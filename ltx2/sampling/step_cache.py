"""Predictions that are left out because they would hardly differ from the last one. Lossy, and off unless asked for.

How far a prediction moves is read off the transformer's first block, as first-block caches do: what the network would
say for the positive prompt if it ended there. Its relative changes from one prediction to the next are summed up; while
the sum stays below a threshold, the last x0 is used again, as skip_step of guidance does, but where little happens.

One decision holds for all passes of a prediction: guidance multiplies their differences, and passes of different ages
differ by more than what guides. And one holds for both modalities, for they look at each other in every block: each is
measured against its own threshold, and the network rests where neither modality needs it.

Shapes: B batch, T tokens, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..tokens import TokenState

Velocities = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class StepCaching:
    """Which predictions may be left out.

    Attributes:
        video, audio: How far a modality may move, summed up since the last prediction that was made; 0 for not at all.
        first_steps, last_steps: Steps at either end of a run that are always computed, 1 or more.
    """

    video: float
    audio: float
    first_steps: int = 4
    last_steps: int = 2

    def __post_init__(self) -> None:
        for name in ("video", "audio"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise LTX2Error(f"step cache: the {name} threshold must be 0 (off) or more; got {value}: try 0.05")
        for name in ("first_steps", "last_steps"):
            if getattr(self, name) < 1:
                raise LTX2Error(f"step cache: {name} must be 1 or more; got {getattr(self, name)}")


class StepCache:
    """The decisions of one run. Its denoiser owns it, and nothing of it outlives the run.

    Args:
        states: (video, audio); a modality that is absent or kept as it is has no say.
        num_steps: of the run.

    Attributes:
        asked: Predictions that could be made or left out.
        hits: Those that were left out.
        agreed: How often each modality would have had it so; None for one that has no say.
    """

    def __init__(
        self, caching: StepCaching, states: tuple[TokenState | None, TokenState | None], num_steps: int
    ) -> None:
        self._caching = caching
        self._num_steps = num_steps
        self._generated = tuple(state.mask > 0 if state and state.mask.any() else None for state in states)
        has_say = tuple(mask is not None for mask in self._generated)
        thresholds = zip((caching.video, caching.audio), has_say, strict=True)
        self._thresholds = tuple(threshold if says else math.inf for threshold, says in thresholds)
        #: Whether anything may be left out at all.
        self.is_on = 0 not in self._thresholds
        self._before: Velocities | None = None
        self._moved = [0.0, 0.0]
        self._key: object = None
        self.asked = self.hits = 0
        self.agreed = [0 if says else None for says in has_say]

    def holds(self, step: int, key: object, early: Callable[[], Velocities]) -> bool:
        """Whether the last prediction may serve once more.

        Args:
            key: All that a prediction depends on beside latents and noise level; where it changes, one is made.
            early: the velocities (B, T, C) behind the first block. Called only where they can matter.
        """
        self.asked += 1
        may_rest = self._caching.first_steps <= step < self._num_steps - self._caching.last_steps
        agree = self._look(early) if self.is_on and (may_rest or self._is_next(step)) else [False] * 2
        for n, says in enumerate(agree):
            if may_rest and self.agreed[n] is not None:
                self.agreed[n] += says
        hit = may_rest and key == self._key and all(agree)
        if not hit:
            self._moved, self._key = [0.0, 0.0], key
        self.hits += hit
        return hit

    def _is_next(self, step: int) -> bool:
        """Whether a prediction of the step behind this one may be left out, which is then compared with this one."""
        return self._caching.first_steps <= step + 1 < self._num_steps - self._caching.last_steps

    def _look(self, early: Callable[[], Velocities]) -> list[bool]:
        """Per modality, whether it has moved by less than its threshold since the last prediction was made."""
        now, before = early(), self._before
        self._before = now
        if before is None:
            return [False, False]
        for n, mask in enumerate(self._generated):
            if mask is not None:
                self._moved[n] += relative_change(now[n], before[n], mask)
        return [moved < threshold for moved, threshold in zip(self._moved, self._thresholds, strict=True)]


def relative_change(now: Tensor, before: Tensor, mask: Tensor) -> float:
    """mean |now - before| / mean |before| where `mask` (B, T, 1) says so, of the clip that changes most.

    NaN where either is: no threshold is above it.
    """
    change, size = (torch.where(mask, x.float().abs(), 0).sum((1, 2)) for x in (now - before, before))
    return float((change / size.clamp_min(torch.finfo(size.dtype).tiny)).max())
