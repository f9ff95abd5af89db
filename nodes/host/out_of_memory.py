"""Errors of memory that ran out, on whatever device, and what they keep alive."""

from __future__ import annotations

import traceback

import torch

# CUDA's libraries and the CPU's allocator have no class of their own for it.
_WORDS = (
    "out of memory",
    "DefaultCPUAllocator",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no room for what it works in
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",  # newer cuDNN: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "unable to find an engine to execute",  # of a convolution: none had room
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, of a device or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


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
