"""Where blocks are while they are not on the device: in RAM, on purpose, or in their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from .lanes import HostBuffer
from .layout import BlockLayout, Piece
from .reading import Reader
from .staging import MakesBuffer, Staging


class Source(Protocol):
    """Where blocks come from.

    Attributes:
        reads: whether they come from files, into a buffer that is given.
        slot_bytes: of the largest block as it arrives.
    """

    reads: bool
    slot_bytes: int

    @property
    def held_bytes(self) -> int:
        """Of RAM that is taken while nothing runs."""
        ...

    def staged(self, host_buffer: MakesBuffer) -> AbstractContextManager[Sequence[HostBuffer]]:
        """Buffers to read blocks into where slots are on another device; none where blocks are in RAM."""
        ...

    def host(self, number: int, reader: Reader, buffer: Tensor) -> Tensor:
        """The bytes of a block in RAM: read into `buffer`, or where they are anyway."""
        ...

    def finish(self, number: int, slot: Tensor) -> None:
        """What is left to be done to a block when it is in its slot."""
        ...

    def view(self, piece: Piece, slot: Tensor) -> Tensor:
        """A tensor of a block that is in its slot."""
        ...

    def let_go(self) -> None:
        """Give back what the next sweep could do without."""
        ...

    def release(self) -> None:
        """Give back what is held."""
        ...


class DiskSource:
    """Blocks are read anew for each sweep, and what is to be merged into them is merged in the slot."""

    reads = True

    def __init__(self, layouts: Sequence[BlockLayout]) -> None:
        self._layouts = layouts
        self.slot_bytes = max(layout.num_bytes for layout in layouts)
        self._staging = Staging(self.slot_bytes)

    @property
    def held_bytes(self) -> int:
        return self._staging.held_bytes

    def staged(self, host_buffer: MakesBuffer) -> AbstractContextManager[Sequence[HostBuffer]]:
        return self._staging.taken(host_buffer)

    def host(self, number: int, reader: Reader, buffer: Tensor) -> Tensor:
        reader.fill(self._layouts[number], buffer)
        return buffer[: self._layouts[number].num_bytes]

    def finish(self, number: int, slot: Tensor) -> None:
        for finish in self._layouts[number].finishes:
            finish(slot)

    def view(self, piece: Piece, slot: Tensor) -> Tensor:
        return piece.finished(slot)

    def let_go(self) -> None:
        staging, self._staging = self._staging, Staging(self.slot_bytes)
        staging.close()

    def release(self) -> None:
        self.let_go()


class RamSource:
    """All blocks in RAM, one buffer each, everything merged. It can be `release`d, and must be.

    Args:
        host_buffer: makes a buffer of so many bytes; raises MemoryError where they cannot be had.
        check: called with (bytes read, bytes in all) before each block, and while it is read; raises to give up.
    """

    reads = False

    def __init__(
        self,
        layouts: Sequence[BlockLayout],
        *,
        host_buffer: MakesBuffer,
        check: Callable[[int, int], None],
    ) -> None:
        self.slot_bytes = max(layout.kept_bytes for layout in layouts)
        num_bytes = sum(layout.kept_bytes for layout in layouts)
        self._buffers: list[HostBuffer] = []
        done = 0
        scratch = HostBuffer(max(layout.num_bytes for layout in layouts), pinned=False)
        try:
            with torch.no_grad(), Reader(lambda: check(done, num_bytes)) as reader:
                for layout in layouts:
                    reader.fill(layout, scratch.bytes)
                    for finish in layout.finishes:
                        finish(scratch.bytes)
                    self._buffers.append(host_buffer(layout.kept_bytes))
                    for place in layout.places:
                        place.piece.kept(self._buffers[-1].bytes).copy_(place.piece.finished(scratch.bytes))
                    done += layout.kept_bytes
        except BaseException:
            self.release()
            raise
        finally:
            scratch.release()

    @property
    def held_bytes(self) -> int:
        return sum(buffer.bytes.nbytes for buffer in self._buffers)

    def staged(self, host_buffer: MakesBuffer) -> AbstractContextManager[Sequence[HostBuffer]]:
        return nullcontext(())

    def host(self, number: int, reader: Reader, buffer: Tensor) -> Tensor:
        return self._buffers[number].bytes

    def finish(self, number: int, slot: Tensor) -> None:
        pass

    def view(self, piece: Piece, slot: Tensor) -> Tensor:
        return piece.kept(slot)

    def let_go(self) -> None:
        pass

    def release(self) -> None:
        for buffer in self._buffers:
            buffer.release()
        self._buffers.clear()
