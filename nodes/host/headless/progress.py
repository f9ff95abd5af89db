"""Progress: a line for each node and each of its stages, with a bar that moves at most ten times a second.

Where the stream is no terminal, lines are whole and few: one when a stage has run for long, one when it is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from .cancellation import Cancellation

REDRAW_SECONDS = 0.1  # on a terminal
REPORT_SECONDS = 10.0  # elsewhere
BAR_WIDTH = 24


class Observer(Protocol):
    """Who is told what becomes of a graph's nodes, besides the lines."""

    def cached(self, node_id: str, title: str) -> None: ...

    def started(self, node_id: str, title: str) -> None: ...

    def stepped(self, done: int, total: int) -> None:
        """How far the node is that started last."""
        ...

    def executed(self, node_id: str, title: str, ui: Mapping[str, Any]) -> None: ...


class Progress:
    """Shows which node runs and how far it is; every step checks for cancellation."""

    def __init__(self, cancellation: Cancellation, stream: TextIO | None = None, observer: Observer | None = None):
        self._cancellation = cancellation
        self.observer = observer
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._redraw_at = 0.0
        self._is_line_open = False

    @contextmanager
    def node(self, node_id: str, title: str, index: int, total: int) -> Iterator[None]:
        """The node that runs now, `index` of `total` counted from 1."""
        if self.observer:
            self.observer.started(node_id, title)
        started = time.monotonic()
        label = f"[{index:{len(str(total))}}/{total}] {title}"
        self._draw(label)
        try:
            yield
            self._finish(f"{label}  {time.monotonic() - started:.1f} s")
        finally:
            self._close_line()

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A stage of the node that runs now; yields the OnStep(done, total) that moves its bar."""
        started = time.monotonic()
        label = f"    {title}"
        self._redraw_at = started + (0 if self._is_terminal else REPORT_SECONDS)
        counted = ""

        def on_step(done: int, total: int) -> None:
            nonlocal counted
            self._cancellation.check()
            if self.observer:
                self.observer.stepped(done, total)
            counted = f"  {done}/{total}"
            if (now := time.monotonic()) >= self._redraw_at:
                self._redraw_at = now + (REDRAW_SECONDS if self._is_terminal else REPORT_SECONDS)
                self._draw(f"{label}  {_bar(done, total)}{counted}", is_report=True)

        self._cancellation.check()
        self._draw(label)
        try:
            yield on_step
            self._finish(f"{label}{counted}  {time.monotonic() - started:.1f} s")
        finally:
            self._close_line()

    def status(self, text: str) -> None:
        """What the node that runs does before it can count steps."""
        if (now := time.monotonic()) >= self._redraw_at:
            self._redraw_at = now + (REDRAW_SECONDS if self._is_terminal else REPORT_SECONDS)
            self._draw(f"    {text}", is_report=True)

    def _draw(self, text: str, *, is_report: bool = False) -> None:
        """A line that the next one overwrites; no terminal gets it only as a report."""
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._is_line_open = True
        elif is_report:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _finish(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}\n" if self._is_terminal else f"{text}\n")
        self._stream.flush()
        self._is_line_open = False

    def _close_line(self) -> None:
        """What was drawn last stays on its line when an error or Ctrl-C ends it."""
        if self._is_line_open:
            self._stream.write("\n")
            self._stream.flush()
            self._is_line_open = False


def _bar(done: int, total: int) -> str:
    filled = BAR_WIDTH * min(done, total) // max(total, 1)
    return "[" + "#" * filled + "-" * (BAR_WIDTH - filled) + "]"
