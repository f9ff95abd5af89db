"""One sweep through the blocks of a network: a thread brings them in order, each as soon as a slot is free.

Nothing of it outlives the sweep: not the thread, nor slots, nor open files. What blocks pass through is the source's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ...errors import LTX2Error
from .lanes import HostBuffer, Lane, Moment
from .layout import BlockLayout
from .reading import Reader
from .sources import Source

_LOOK_SECONDS = 0.1  # between two looks at whether the user has cancelled
_PATIENCE_SECONDS = 120.0  # without a single byte


class _Stopped(Exception):
    """The sweep is over: the thread lets everything fall."""


class Sweep:
    """Blocks in order, `count` of them at most on the device. Used by one thread; `close` ends it.

    Args:
        name: what is streamed, for messages.
        check: called while a block is awaited; raises where the user has cancelled.
    """

    def __init__(
        self,
        layouts: Sequence[BlockLayout],
        source: Source,
        lane: Lane,
        count: int,
        name: str,
        check: Callable[[], None],
    ) -> None:
        self._layouts, self._source, self._lane, self._name, self._check = layouts, source, lane, name, check
        self._changed = threading.Condition()
        self._free: deque[tuple[Tensor, Moment]] = deque((slot, None) for slot in lane.slots(count, source.slot_bytes))
        self._arrived: deque[tuple[int, Tensor, Moment]] = deque()
        self._current: tuple[int, Tensor] | None = None
        self._next = 0
        self._error: BaseException | None = None
        self._is_stopped = False
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._bring, name=f"LTX-2 blocks of {name}", daemon=True)
        self._thread.start()

    def ready(self, number: int) -> bool:
        """Have block `number` on the device, in its places; False where it has passed already.

        Raises:
            ModelFileError: its file cannot be read.
            LTX2Error: nothing arrives any more.
        """
        if self._current is not None and self._current[0] == number:
            return True
        if number < self._next:
            return False
        while self._current is None or self._current[0] != number:
            self._let_go()
            found, slot, moment = self._take()
            self._current, self._next = (found, slot), found + 1
            self._lane.before_use(moment)
        for place in self._layouts[number].places:
            place.put(self._source.view(place.piece, slot))
        return True

    def close(self) -> None:
        """Put all tensors home, end the thread and let go of the slots."""
        self._let_go()
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        # A read that hangs cannot be ended: its thread lets go of everything when it comes back.
        self._thread.join(max(_PATIENCE_SECONDS - self._silence(), _LOOK_SECONDS))
        self._lane.finish()
        self._free.clear()
        self._arrived.clear()

    def _let_go(self) -> None:
        """The current block goes home, and its slot is free once all is done that was computed with it."""
        if self._current is None:
            return
        (number, slot), self._current = self._current, None
        for place in self._layouts[number].places:
            place.put_home()
        with self._changed:
            self._free.append((slot, self._lane.used()))
            self._alive_at = time.monotonic()
            self._changed.notify_all()

    def _take(self) -> tuple[int, Tensor, Moment]:
        """The next block that arrives."""
        with self._changed:
            while not self._arrived:
                if self._error is not None:
                    raise self._error
                self._check()
                if self._silence() > _PATIENCE_SECONDS:
                    raise LTX2Error(
                        f"blocks of {self._name} must arrive while they are streamed; nothing came for "
                        f"{_PATIENCE_SECONDS:.0f} s: check its disk or network, or copy the file to a local disk"
                    )
                self._changed.wait(_LOOK_SECONDS)
            return self._arrived.popleft()

    def _silence(self) -> float:
        """Seconds since the thread was last seen to get on."""
        return time.monotonic() - self._alive_at

    def _bring(self) -> None:
        """The thread: block after block into a free slot, until the last one or `close`."""
        try:
            with torch.no_grad(), self._lane.working(), Reader(self._go_on) as reader, self._staged() as staging:
                try:
                    self._bring_all(reader, staging)
                finally:  # copies from what the next sweep reads into are done
                    self._lane.finish()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where blocks are awaited
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _bring_all(self, reader: Reader, staging: Sequence[HostBuffer]) -> None:
        copied: list[Moment] = [None] * len(staging)
        for number in range(len(self._layouts)):
            if staging:
                turn = number % len(staging)
                self._lane.wait(copied[turn], on_host=True)
                host = self._source.host(number, reader, staging[turn].bytes)
                slot = self._free_slot()
                self._lane.copy(host, slot)
                copied[turn] = self._lane.arrived()
            else:
                slot = self._free_slot()
                host = self._source.host(number, reader, slot)
                if not self._source.reads:
                    self._lane.copy(host, slot)
            self._source.finish(number, slot)
            with self._changed:
                self._arrived.append((number, slot, self._lane.arrived()))
                self._changed.notify_all()

    def _staged(self) -> AbstractContextManager[Sequence[HostBuffer]]:
        return nullcontext(()) if self._lane.reads_into_slots else self._source.staged(self._lane.host_buffer)

    def _free_slot(self) -> Tensor:
        with self._changed:
            while not self._free:
                self._go_on()
                self._changed.wait()
            self._go_on()
            slot, used = self._free.popleft()
        self._lane.wait(used)
        return slot

    def _go_on(self) -> None:
        self._alive_at = time.monotonic()
        if self._is_stopped:
            raise _Stopped
