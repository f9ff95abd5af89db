"""A thread that takes things in order while they are being made: neither side runs far ahead of the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

# How long each side waits before it looks whether the other has stopped.
_SECONDS = 0.1


class Background(Generic[T]):
    """Calls `take` with everything that is `put`, in order, in a thread of its own. To be used in a `with` statement.

    At most `most` things wait. What `take` raises is raised by the next `put`, or where the block ends; what the block
    raises makes the thread leave out what waits. Either way the thread has ended when the block has.
    """

    def __init__(self, take: Callable[[T], None], most: int, name: str) -> None:
        self._take = take
        self._waiting: queue.Queue[tuple[T] | None] = queue.Queue(most)
        self._stopped = threading.Event()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)

    def put(self, thing: T) -> None:
        """Hand over one thing; waits while `most` others do."""
        self._offer((thing,))

    def __enter__(self) -> Background[T]:
        self._run = self._threads.submit(self._take_all)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._offer(None)
                self._run.result()
        finally:
            self._stopped.set()  # after an error, or Ctrl-C while the last things are taken
            self._threads.shutdown()

    def _offer(self, item: tuple[T] | None) -> None:
        while not self._run.done():
            with suppress(queue.Full):
                self._waiting.put(item, timeout=_SECONDS)
                return
        self._run.result()

    def _take_all(self) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Empty):
                item = self._waiting.get(timeout=_SECONDS)
                if item is None:
                    return
                self._take(*item)
