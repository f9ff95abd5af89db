"""How a LoRA is put on a network: how strongly, on which of its weights, and merged into them or beside them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import LTX2Error

MODES = ("merge", "runtime")
VIDEO, AUDIO, CROSS, SHARED = "video", "audio", "cross-modal", "shared"

_BLOCK = re.compile(r"^blocks\.(\d+)\.")
_SIGNS = (("exchange", CROSS), ("video.", VIDEO), ("audio.", AUDIO))


def modality_of(name: str) -> str:
    """The modality of one of our parameter names: "video", "audio", "cross-modal", or "shared" by both.

    Cross-modal is all that one modality hears of the other: the exchange of each block and what modulates it.
    """
    return next((modality for sign, modality in _SIGNS if sign in name), SHARED)


def block_of(name: str) -> int | None:
    """The transformer block of one of our parameter names; None for a weight that is in no block."""
    match = _BLOCK.match(name)
    return int(match[1]) if match else None


def block_range(first: int, last: int, num_blocks: int) -> tuple[int, int] | None:
    """The range that (first, last) means in a transformer of `num_blocks`; -1 is the last block, None the whole.

    Raises:
        LTX2Error: there are no such blocks, or the range is empty.
    """
    end = num_blocks - 1
    last = end if last == -1 else last
    if not 0 <= first <= last <= end:
        raise LTX2Error(
            f"the blocks of a LoRA must be within 0 to {end}, the first not after the last; got {first} to {last}: "
            f"use 0 to -1 for all {num_blocks}"
        )
    return None if (first, last) == (0, end) else (first, last)


@dataclass(frozen=True)
class LoraUse:
    """How a LoRA is put on a network.

    Attributes:
        strength: 1 as trained.
        video, audio, cross: factors on the strength for weights of that modality.
        blocks: (first, last) transformer block that is changed, both inclusive; None for the whole network. Weights
            that are in no block (patchify, AdaLN, the text connectors) change only with the whole.
        mode: "merge" adds the change to the weights; "runtime" computes it beside them, at every use.

    Raises:
        LTX2Error: a number is not finite, or the mode is unknown.
    """

    strength: float = 1.0
    video: float = 1.0
    audio: float = 1.0
    cross: float = 1.0
    blocks: tuple[int, int] | None = None
    mode: str = "merge"

    def __post_init__(self) -> None:
        for name in ("strength", VIDEO, AUDIO, "cross"):
            if not math.isfinite(getattr(self, name)):
                raise LTX2Error(f"a LoRA's {name} must be a finite number; got {getattr(self, name)}")
        if self.mode not in MODES:
            raise LTX2Error(f"a LoRA's mode must be one of {', '.join(MODES)}; got {self.mode!r}")

    def scale(self, name: str) -> float:
        """What the change of our parameter `name` is multiplied by; 0 where it is left out."""
        if self.blocks is not None:
            block = block_of(name)
            if block is None or not self.blocks[0] <= block <= self.blocks[1]:
                return 0.0
        factors = {VIDEO: self.video, AUDIO: self.audio, CROSS: self.cross, SHARED: 1.0}
        return self.strength * factors[modality_of(name)]
