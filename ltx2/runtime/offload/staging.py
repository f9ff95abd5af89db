"""Buffers in RAM through which blocks pass on their way from a file to a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .lanes import HostBuffer

#: Gives so many bytes; raises MemoryError where they cannot be had.
MakesBuffer = Callable[[int], HostBuffer]

_COUNT = 2  # one is read into while the other is copied from


class Staging:
    """Two buffers, made when they are first needed and kept from sweep to sweep: to pin them anew takes long.

    A sweep whose read hangs keeps its two until that comes back; the next one gets others.
    """

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._lock = threading.Lock()
        self._kept: list[HostBuffer] = []
        self._is_closed = False

    @property
    def held_bytes(self) -> int:
        """Of RAM that waits here for the next sweep."""
        return sum(buffer.bytes.nbytes for buffer in self._kept)

    @contextmanager
    def taken(self, host_buffer: MakesBuffer) -> Iterator[Sequence[HostBuffer]]:
        """The buffers, for the thread that reads into them. When this ends, no copy from them may be under way."""
        with self._lock:
            buffers, self._kept = self._kept, []
        try:
            while len(buffers) < _COUNT:
                buffers.append(host_buffer(self._num_bytes))
            yield buffers
        finally:
            with self._lock:
                is_kept = not (self._is_closed or self._kept)
                if is_kept:
                    self._kept = buffers
            if not is_kept:
                _release(buffers)

    def close(self) -> None:
        """Give back what is kept; what is taken follows when its thread ends."""
        with self._lock:
            self._is_closed = True
            buffers, self._kept = self._kept, []
        _release(buffers)


def _release(buffers: Sequence[HostBuffer]) -> None:
    for buffer in buffers:
        buffer.release()
