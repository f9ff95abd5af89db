"""How blocks get onto a device beside what it computes: a copy stream with events on CUDA; on the CPU plain copies."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol

import torch
from torch import Tensor

logger = logging.getLogger("ltx2")

_FOR_ALL_DEVICES = 1  # cudaHostRegisterPortable

#: A moment on a device, before or after which something happens; None where nothing is ever under way.
Moment = Any


def in_ram(num_bytes: int) -> Tensor:
    """Bytes in RAM of their own, which go back to the system as soon as nobody has them.

    Raises:
        MemoryError: there are not so many.
    """
    size = max(num_bytes, 1)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"{size / 1e9:.2f} GB of RAM cannot be had: {error.strerror}") from error
        # Hundreds of thousands of small pages would cost more to get than to fill.
        with suppress(OSError):  # a system without large ones
            memory.madvise(mmap.MADV_HUGEPAGE)
    else:
        memory = bytearray(size)
    # A normal tensor, whoever asks: it is written to in threads of their own.
    with torch.inference_mode(False):
        return torch.frombuffer(memory, dtype=torch.uint8)[:num_bytes]


class HostBuffer:
    """Bytes in RAM, pinned where a GPU copies from them: registered on purpose, and given back by `release`."""

    def __init__(self, num_bytes: int, *, pinned: bool) -> None:
        self.bytes = in_ram(num_bytes)
        self._is_registered = pinned and num_bytes > 0 and _register(self.bytes)

    def release(self) -> None:
        """Unpin, and let go of the memory."""
        if self._is_registered:
            _went_well(torch.cuda.cudart().cudaHostUnregister(self.bytes.data_ptr()))
            self._is_registered = False
        self.bytes = torch.empty(0, dtype=torch.uint8)


def _register(buffer: Tensor) -> bool:
    # torch's own pinned memory is rounded up to a power of two, and never given back.
    code = torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, _FOR_ALL_DEVICES)
    if not _went_well(code):
        logger.warning("%.2f GB of RAM cannot be pinned (error %d): copies are slower", buffer.nbytes / 1e9, int(code))
        return False
    return True


def _went_well(code: Any) -> bool:
    """Whether CUDA did what it was asked; its error is gone then, which torch's next kernel would take for its own."""
    if int(code):
        with suppress(RuntimeError):
            torch.zeros(1, device="cuda").add_(1)
            torch.cuda.synchronize()
    return not int(code)


class Lane(Protocol):
    """One device, and the way there.

    The thread that brings blocks calls `working`, `wait`, `copy` and `arrived`; the one that computes calls the others.
    """

    reads_into_slots: bool  # whether slots are RAM themselves

    def host_buffer(self, num_bytes: int) -> HostBuffer:
        """Bytes in RAM to copy from. Raises MemoryError where there are not so many."""
        ...

    def slots(self, count: int, num_bytes: int) -> list[Tensor]:
        """So many buffers (bytes) on the device, which may be written to from now on."""
        ...

    def working(self) -> AbstractContextManager[object]:
        """In it, what the thread starts runs beside the computing."""
        ...

    def copy(self, host: Tensor, slot: Tensor) -> None:
        """Start to copy the bytes of `host` to the start of `slot`."""
        ...

    def arrived(self) -> Moment:
        """The moment when all that the thread has started is done."""
        ...

    def wait(self, moment: Moment, *, on_host: bool = False) -> None:
        """Nothing that the thread starts after this begins before `moment`; `on_host`, nor does the thread go on."""
        ...

    def before_use(self, moment: Moment) -> None:
        """Nothing that is computed after this begins before `moment`."""
        ...

    def used(self) -> Moment:
        """The moment when all is done that was computed so far."""
        ...

    def finish(self) -> None:
        """Return when all copies are done."""
        ...


class CpuLane:
    """Blocks are read straight into slots, which are RAM."""

    reads_into_slots = True

    def host_buffer(self, num_bytes: int) -> HostBuffer:
        return HostBuffer(num_bytes, pinned=False)

    def slots(self, count: int, num_bytes: int) -> list[Tensor]:
        return [in_ram(num_bytes) for _ in range(count)]

    def working(self) -> AbstractContextManager[object]:
        return nullcontext()

    def copy(self, host: Tensor, slot: Tensor) -> None:
        slot[: host.nbytes].copy_(host)

    def arrived(self) -> Moment:
        return None

    def wait(self, moment: Moment, *, on_host: bool = False) -> None:
        pass

    def before_use(self, moment: Moment) -> None:
        pass

    def used(self) -> Moment:
        return None

    def finish(self) -> None:
        pass


class CudaLane:
    """A stream of its own, so that copies run beside kernels; events say which waits for which."""

    reads_into_slots = False

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def host_buffer(self, num_bytes: int) -> HostBuffer:
        with torch.cuda.device(self._device):
            return HostBuffer(num_bytes, pinned=True)

    def slots(self, count: int, num_bytes: int) -> list[Tensor]:
        with torch.inference_mode(False):
            made = [torch.empty(num_bytes, dtype=torch.uint8, device=self._device) for _ in range(count)]
        # The allocator gives memory that kernels which are still to run may yet write to.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        return made

    def working(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def copy(self, host: Tensor, slot: Tensor) -> None:
        slot[: host.nbytes].copy_(host, non_blocking=True)

    def arrived(self) -> Moment:
        return self._stream.record_event()

    def wait(self, moment: Moment, *, on_host: bool = False) -> None:
        if moment is None:
            return
        if on_host:
            moment.synchronize()
        self._stream.wait_event(moment)

    def before_use(self, moment: Moment) -> None:
        torch.cuda.current_stream(self._device).wait_event(moment)

    def used(self) -> Moment:
        return torch.cuda.current_stream(self._device).record_event()

    def finish(self) -> None:
        self._stream.synchronize()


#: By the type of a device.
LANES: dict[str, Callable[[torch.device], Lane]] = {"cpu": lambda _: CpuLane(), "cuda": CudaLane}
