"""How much memory a device has given at most."""

from __future__ import annotations

import torch


def peak_memory(device: torch.device) -> int | None:
    """The most bytes allocated on `device` at once since the last call; None where it does not tell (CPU)."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak
