"""Errors of memory that ran out, on whatever device, and what they keep alive."""

from __future__ import annotations

import traceback

import torch

from ...ltx2.errors import OUT_OF_MEMORY


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, of a device or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def is_of_machine(error: BaseException) -> bool:
    """Whether it was the machine's own memory that ran out."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def clear_frames(error: BaseException | None) -> None:
    """Let go of all that the finished functions on the way of `error`, and of its causes, had in their variables.

    Tracebacks keep it alive, and with it the very tensors that there was no room beside.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
