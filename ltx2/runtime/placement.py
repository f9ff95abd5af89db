"""Which placement fits: arithmetic over what a network takes and what is free. All amounts are bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from ..checkpoint.lora_stack import LoraStack
from ..errors import LTX2Error
from ..placement import AUTOMATIC, DISK, MAX_SLOTS, MIN_SLOTS, RAM, RESIDENT, Placement

# Of what is free: estimates are within 15 %, and libraries want some workspace of their own.
_USED_SHARE = 0.85
#: Of the machine's free RAM: the rest is for files that are read, decoded frames and other programs.
_RAM_SHARE = 0.8
_GROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")

#: What a GPU of so many GB leaves to us, where a screen or another program has its share.
PRESETS = {f"{size} GB": int(size * 2**30 * 0.92) for size in (8, 12, 16, 24)}

#: What takes less of some memory than a mode.
LESS = {RESIDENT: (RAM, DISK), RAM: (DISK,)}


@dataclass(frozen=True)
class Needs:
    """What a network takes.

    Attributes:
        rest: its weights that are not in blocks, which stay on the device.
        blocks: those of all blocks.
        largest: the largest block of the list that needs most to be streamed; one list at a time is.
        num_blocks: how many there are in that list.
        computing: what is to be computed, at the most.
    """

    rest: int
    blocks: int
    largest: int
    num_blocks: int
    computing: int = 0

    @classmethod
    def of(cls, network: nn.Module, paths: Sequence[str], stack: LoraStack, computing: int = 0) -> Needs:
        """Of a network whose lists of blocks are at `paths`, once its weights are as `stack` makes them."""
        lists = [_sizes(network, path, stack) for path in paths]
        blocks = sum(map(sum, lists))
        most = max(lists, key=lambda one: min(MAX_SLOTS, len(one)) * max(one))
        return cls(_num_bytes(network, "", stack) - blocks, blocks, max(most), len(most), computing)

    def on_device(self, placement: Placement) -> int:
        """What of its weights is on the device at once."""
        slots = min(placement.slots, self.num_blocks)
        return self.rest + (slots * self.largest if placement.is_streamed else self.blocks)

    def total(self, placement: Placement) -> int:
        """All that is on the device at once, with a margin."""
        return self.on_device(placement) + int(self.computing / _USED_SHARE)


def choose(
    placement: Placement, needs: Needs, device: int | None, ram: int | None, too_much: str | None = None
) -> Placement:
    """`placement` with "automatic" decided: resident, else streamed from RAM, else from disk, whichever fits first.

    Args:
        too_much: a mode that has proven not to fit, whatever was estimated; what takes more does not either.
        device: free on the device, with what this network has there; None where that is no limit (CPU).
        ram: free in the machine; None where that is not known, which counts as none.

    Raises:
        LTX2Error: blocks are to be kept in RAM, and it is known not to hold them.
    """
    limit = min((amount for amount in (device, placement.budget) if amount is not None), default=None)
    fits_ram = ram is not None and needs.blocks <= ram * _RAM_SHARE
    if placement.mode == RAM and ram is not None and not fits_ram:
        raise LTX2Error(
            f"'{RAM}' keeps {needs.blocks / 1e9:.1f} GB of blocks in RAM; {ram / 1e9:.1f} GB are free, of which "
            f"{ram * _RAM_SHARE / 1e9:.1f} GB may be used: choose '{DISK}', or '{AUTOMATIC}'"
        )
    if placement.mode == AUTOMATIC:
        fits_device = limit is None or needs.total(replace(placement, mode=RESIDENT)) <= limit
        options = [(RESIDENT, fits_device), (RAM, fits_ram), (DISK, True)]
        less = LESS.get(too_much or "", (RESIDENT, RAM, DISK))
        placement = replace(placement, mode=next(mode for mode, fitting in options if fitting and mode in less))
    if limit is not None and needs.total(placement) > limit:
        placement = replace(placement, slots=MIN_SLOTS)
    return placement


def in_words(needs: Needs, placement: Placement, device: int | None) -> str:
    """The estimate, as it is logged before anything is computed."""
    slots = min(placement.slots, needs.num_blocks)
    blocks = f"{slots} of {needs.num_blocks} blocks at a time" if placement.is_streamed else "all blocks"
    limit = min((amount for amount in (device, placement.budget) if amount is not None), default=None)
    of = "" if limit is None else f" of {limit / 1e9:.2f} GB"
    weights = needs.on_device(placement)
    return (
        f"{placement.mode}: {needs.rest / 1e9:.2f} GB of weights + {(weights - needs.rest) / 1e9:.2f} GB for {blocks} "
        f"+ about {needs.computing / 1e9:.2f} GB to compute in = {(weights + needs.computing) / 1e9:.2f} GB{of}"
    )


def fits(needs: Needs, placement: Placement, device: int | None) -> bool:
    """Whether a placement is within the budget and what is free."""
    return all(needs.total(placement) <= limit for limit in (device, placement.budget) if limit is not None)


def free_ram() -> int | None:
    """Bytes of RAM that can be taken without others being pushed out; None where the system does not tell."""
    found = [amount for read in (_free_of_machine, _free_of_group) if (amount := read()) is not None]
    return min(found, default=None)


def _free_of_machine() -> int | None:
    def read() -> int:
        lines = _MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))

    return _known(read)


def _free_of_group() -> int | None:
    """What a container may still take: its files in RAM can be dropped."""

    def read() -> int:
        lines = (_GROUP / "memory.stat").read_text().splitlines()
        files = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        limit, taken = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return limit - taken + files

    return _known(read)


def _known(read: Callable[[], int]) -> int | None:
    """What `read` finds; None where its files are not there or say something else ("max")."""
    try:
        return read()
    except (OSError, ValueError, StopIteration):
        return None


def _sizes(network: nn.Module, path: str, stack: LoraStack) -> list[int]:
    """Bytes of each block of the list at `path`."""
    blocks = network.get_submodule(path).named_children()
    return [_num_bytes(block, f"{path}.{name}.", stack) for name, block in blocks]


def _num_bytes(module: nn.Module, prefix: str, stack: LoraStack) -> int:
    buffers = sum(buffer.nbytes for buffer in module.buffers())
    weights = (stack.then(f"{prefix}{name}", weight.to("meta")) for name, weight in module.named_parameters())
    return buffers + sum(weight.nbytes for weight in weights)
