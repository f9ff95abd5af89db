"""One computation of a node: where it runs, the networks that it borrows, its progress, and its end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

from ..ltx2.errors import LTX2Error
from ..ltx2.recipe import Recipe
from .host import current
from .host.networks import borrow, weight_bytes
from .host.out_of_memory import clear_frames, is_of_machine
from .stages import stage_of


class Computation:
    """What a node computes in one go. A context manager: progress is shown and no gradients are kept inside.

    Where memory runs out inside, networks leave the device, nothing of the computation stays, and the error is an
    LTX2Error: what it took, and three settings that would help.

    Attributes:
        device: What networks compute on.
        dtype: What they compute in.
    """

    def __init__(self, title: str):
        host = current()
        self._title = title
        self._stage = stage_of(title)
        self._context = ExitStack()
        self._borrowed: tuple[Recipe, ...] = ()
        self._activation_bytes = 0
        self._free_bytes: int | None = None
        self.device = host.device(self._stage.part)
        self.dtype = host.compute_dtype(self.device, self._stage.part)

    def __enter__(self) -> Computation:
        self._on_step = self._context.enter_context(current().progress(self._title))
        self._context.enter_context(torch.no_grad())
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._context.__exit__(kind, error, trace)
        if error is not None and current().is_out_of_memory(error):
            explained = self._explained(error)
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
        self._free_bytes = current().free_memory(self.device)
        return networks

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
        return LTX2Error(f"{self._title} must fit into {place}; {got}; {', or '.join(self._stage.cures)}")
