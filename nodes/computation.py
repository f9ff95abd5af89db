"""One computation of a node: where it runs, the networks that it borrows, and its progress."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

from ..ltx2.recipe import Recipe
from .host import current
from .host.networks import borrow


class Computation:
    """What a node computes in one go. A context manager: progress is shown and no gradients are kept inside.

    Attributes:
        device: What networks compute on.
        dtype: What they compute in.
    """

    def __init__(self, title: str):
        host = current()
        self._title = title
        self._context = ExitStack()
        self.device = host.device()
        self.dtype = host.compute_dtype(self.device)

    def __enter__(self) -> Computation:
        self._on_step = self._context.enter_context(current().progress(self._title))
        self._context.enter_context(torch.no_grad())
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def borrow(self, *recipes: Recipe, activation_bytes: int = 0) -> tuple[Any, ...]:
        """The ready networks of `recipes` on `device`, with room for what they will compute.

        Valid until the next call; borrow again before each use.
        """
        return borrow(*recipes, activation_bytes=activation_bytes)

    def on_step(self, done: int, total: int) -> None:
        """Units done, units in all; raises the host's interrupt when the user has cancelled."""
        self._on_step(done, total)
