"""Ctrl-C: the first asks the computation to stop at its next step, the second stops it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The user cancelled. No Exception: whoever handles errors must not take it for one."""


class Cancellation:
    """Whether the user has cancelled."""

    def __init__(self) -> None:
        self.is_requested = False

    def request(self) -> None:
        self.is_requested = True

    def check(self) -> None:
        """Raise Interrupted when the user has cancelled."""
        if self.is_requested:
            raise Interrupted("cancelled")

    @contextmanager
    def on_sigint(self) -> Iterator[None]:
        """Take over Ctrl-C while the block runs. For the main thread only, as Python has it."""

        def handle(number: int, frame: Any) -> None:
            if self.is_requested:
                raise Interrupted("cancelled")
            self.request()

        previous = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
