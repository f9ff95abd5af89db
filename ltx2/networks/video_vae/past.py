"""Clips that pass through a network chunk by chunk: what a layer remembers of the frames before a chunk.

Every convolution is three frames long, so two remembered frames make it exact. One that sees the frame after its own
gives a frame less than it got in the first chunk and the missing one with the last: its output lags.

Shapes: B batch, C channels, F frames, H height, W width; tensors are (B, C, F, H, W).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Past:
    """What one layer remembers of one clip. Without arguments the clip begins, and more of it will come.

    Attributes:
        is_last: Whether the clip ends with the chunk that the layer gets now.
        given: Frames that the layer has given so far.
    """

    def __init__(self, *, is_last: bool = False, store: torch.device | None = None) -> None:
        """`store`: where the remembered frames wait for the next chunk; None for the device of the clip."""
        self.is_last = is_last
        self.given = 0
        self._store = store
        self._kept: dict[nn.Module, Tensor] = {}

    def swap(self, module: nn.Module, x: Tensor) -> Tensor | None:
        """The two frames before `x`, the next ones that `module` gets; the last two of all are kept in their place.

        None at the beginning of the clip, which counts as preceded by its first frame.
        """
        before = self._kept.pop(module, None)
        before = before if before is None else before.to(x.device)
        if not self.is_last and (x.shape[2] or before is not None):
            last = _last_two(x[:, :, :1] if before is None else before, x)
            self._kept[module] = last if self._store is None else last.to(self._store)
        return before


def _last_two(before: Tensor, x: Tensor) -> Tensor:
    """In memory of their own: a view would hold the chunk."""
    if x.shape[2] >= 2:
        return x[:, :, -2:].clone()
    return torch.cat([before, x], dim=2)[:, :, -2:].clone()


#: For layers that get a clip in one chunk.
WHOLE = Past(is_last=True)


class Step(NamedTuple):
    """A layer of a network that clips pass through in chunks.

    Attributes:
        run: (chunk, what the layer remembers) -> chunk, of no frames where those around them are still to come.
        growth: Frames given for each one that is got.
    """

    run: Callable[[Tensor, Past], Tensor]
    growth: int = 1


def passed(x: Tensor, steps: list[Step]) -> Tensor:
    """A whole clip after all `steps`."""
    for step in steps:
        x = step.run(x, WHOLE)
    return x
