"""Where the time of a call goes: kernels by kind, and how long the device has nothing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

# The first kind that a kernel's name has a part of; names are cuBLAS', cuDNN's, flash attention's and ATen's.
_KINDS = (
    ("attention", ("flash", "fmha", "attention", "sdpa", "sage")),
    ("convolutions", ("conv", "implicit_gemm", "wgrad", "dgrad", "xmma_fprop")),
    ("matrix products", ("gemm", "nvjet", "cutlass", "cublas", "matmul", "addmm", "::mm", "::bmm", "splitk")),
    ("copies", ("memcpy", "memset", "copy")),
    ("elementwise and norms", ("elementwise", "norm", "reduce", "triton", "vectorized", "cat", "index", "gelu", "mul")),
)
_SHOWN = 12


def profiled(name: str, call: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Kernels of one call, in milliseconds by kind and by name; "idle" is the device's share without a kernel."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    with profile(activities=activities) as recorded:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    events = [(event.key, _own_time(event, device) / 1e3, event.count) for event in recorded.key_averages()]
    events = sorted((event for event in events if event[1] > 0), key=lambda event: -event[1])
    kinds: Counter[str] = Counter()
    for key, milliseconds, _ in events:
        kinds[_kind(key)] += milliseconds
    return {
        "profile": name,
        "kernels": sum(count for *_, count in events),
        "busy_ms": round(sum(kinds.values()), 3),
        "kinds_ms": {kind: round(milliseconds, 3) for kind, milliseconds in kinds.most_common()},
        "longest": [[key[:100], round(milliseconds, 3), count] for key, milliseconds, count in events[:_SHOWN]],
    }


def lines(found: dict[str, Any], milliseconds: float) -> list[str]:
    """A profile in words. `milliseconds` is what the call takes when nobody looks."""
    idle = max(0.0, 1 - found["busy_ms"] / milliseconds)
    kinds = ", ".join(f"{kind} {taken:.1f} ms" for kind, taken in found["kinds_ms"].items())
    head = f"{found['profile']}: {found['kernels']} kernels, busy {found['busy_ms']:.1f} of {milliseconds:.1f} ms "
    longest = [f"    {taken:9.2f} ms  {count:6} x  {name}" for name, taken, count in found["longest"]]
    return [f"{head}({idle:.0%} idle): {kinds}", *longest]


def _kind(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, parts in _KINDS if any(part in lower for part in parts)), "other")


def _own_time(event: Any, device: torch.device) -> float:
    """Microseconds; of kernels alone where there is a device, for operators repeat those of their kernels."""
    if device.type == "cuda":
        return event.self_device_time_total if event.device_type == torch.autograd.DeviceType.CUDA else 0.0
    return event.self_cpu_time_total
