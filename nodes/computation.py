"""One computation of a node: where it runs, the networks that it borrows, its progress, and its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import torch

from ..ltx2.errors import LTX2Error
from ..ltx2.recipe import Recipe
from ..ltx2.runtime.offload.streaming import BLOCKS
from .host import current
from .host.networks import borrow, left, place_in_less, weight_bytes
from .host.out_of_memory import clear_frames, is_of_machine
from .stages import STAGES

ResultT = TypeVar("ResultT")
_PLACEMENT = "place it in less with LTX-2 Placement ('automatic', or 'streamed from disk')"


class Computation:
    """What a node computes in one go. A context manager: progress is shown and no gradients are kept inside.

    Where memory runs out inside, networks leave the device, nothing of the computation stays, and the error is an
    LTX2Error: what it took, and settings that would help.

    Attributes:
        title: What it is called, a key of `STAGES`.
        device: What networks compute on.
        dtype: What they compute in.
        ran_out: Whether it ended for want of memory.
    """

    def __init__(self, title: str):
        host = current()
        self.title = title
        self._stage = STAGES[title]
        self._context = ExitStack()
        self._borrowed: tuple[Recipe, ...] = ()
        self._activation_bytes = 0
        self._free_bytes: int | None = None
        self.ran_out = False
        self.device = host.device(self._stage.part)
        self.dtype = host.compute_dtype(self.device, self._stage.part)

    @classmethod
    def run(cls, title: str, function: Callable[[Computation], ResultT]) -> ResultT:
        """What `function` makes of a computation; where memory runs out and a network may be placed in less, of two."""
        while True:
            computation = cls(title)
            try:
                with computation:
                    return function(computation)
            except LTX2Error:
                if not (computation.ran_out and place_in_less(*computation._borrowed)):
                    raise

    def __enter__(self) -> Computation:
        self._on_step = self._context.enter_context(current().progress(self.title))
        self._context.enter_context(torch.no_grad())
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._context.__exit__(kind, error, trace)
        if error is not None and current().is_out_of_memory(error):
            self.ran_out, explained = True, self._explained(error)
            clear_frames(error)
            current().unload_all()
            raise explained from error

    def borrow(self, *recipes: Recipe, activation_bytes: int = 0) -> tuple[Any, ...]:
        """The ready networks of `recipes` on `device`, with room for what they will compute.

        Valid until the next call; borrow again before each use.
        """
        self._borrowed, self._activation_bytes = recipes, activation_bytes
        self._free_bytes = current().free_memory(self.device)
        networks = borrow(*recipes, activation_bytes=activation_bytes)
        self._free_bytes = left(current().free_memory(self.device), *recipes)
        return networks

    @property
    def free_bytes(self) -> int | None:
        """What was left beside the networks borrowed last, within the budget; None where it is not told (CPU)."""
        return self._free_bytes

    def on_step(self, done: int, total: int) -> None:
        """Units done, units in all; raises the host's interrupt when the user has cancelled."""
        self._on_step(done, total)

    def _explained(self, error: BaseException) -> LTX2Error:
        place = "the memory of this machine" if is_of_machine(error) else f"the memory of {self.device}"
        amounts = (
            (self._activation_bytes, "about {} to compute in"),
            (weight_bytes(*self._borrowed), "{} of weights"),
            (self._free_bytes, "{} were free"),
        )
        known = [words.format(f"{num_bytes / 1e9:.2f} GB") for num_bytes, words in amounts if num_bytes]
        got = f"it ran out ({', '.join(known)})" if known else "it ran out"
        cures = self._stage.cures
        if any(recipe.kind in BLOCKS for recipe in self._borrowed):
            cures = (*cures, _PLACEMENT)
        if any(getattr(recipe, "is_recorded", False) for recipe in self._borrowed):
            cures = ("disable LTX-2 CUDA Graphs", *cures)
        return LTX2Error(f"{self.title} must fit into {place}; {got}; {', or '.join(cures)}")
