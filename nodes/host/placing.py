"""A recipe's network, built and placed as the user chose: whole, or with its blocks streamed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ...ltx2.errors import LTX2Error
from ...ltx2.placement import AUTOMATIC, DISK, RAM, RESIDENT, Placement
from ...ltx2.recipe import Recipe
from ...ltx2.runtime.offload.streaming import BLOCKS, StreamedNetwork
from ...ltx2.runtime.placement import LESS, Needs, choose, fits, in_words
from . import current
from .out_of_memory import clear_frames, is_of_machine

logger = logging.getLogger("ltx2")

_Check = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Placed:
    """A network, and how it is placed; the last three are None where that is left to the host.

    Attributes:
        placement: never "automatic".
    """

    network: Any
    streaming: StreamedNetwork | None = None
    placement: Placement | None = None
    needs: Needs | None = None

    @property
    def held(self) -> Any:
        """What the host's memory management gets to see of the network."""
        return self.streaming.rest if self.streaming else self.network

    @property
    def slot_bytes(self) -> int:
        """Bytes of the device that the host does not know of."""
        return self.streaming.slot_bytes if self.streaming else 0

    def is_enough(self, recipe: Recipe, activation_bytes: int, device: torch.device) -> bool:
        """Whether what was decided for an "automatic" network still fits what is to be computed now."""
        if self.placement is None or self.needs is None or self.placement.is_streamed or not _decides(recipe):
            return True
        return fits(replace(self.needs, computing=activation_bytes), self.placement, available(device))

    def tell(self, recipe: Recipe, activation_bytes: int, device: torch.device) -> None:
        """Log what all of it takes."""
        if self.placement is None or self.needs is None:
            return
        needs, free = replace(self.needs, computing=activation_bytes), available(device)
        words = f"{recipe!r} {in_words(needs, self.placement, free)}"
        logger.info("%s", words)
        if not fits(needs, self.placement, free):
            logger.warning("%s: this is more than there is; make the clip smaller or shorter if it fails", words)

    def left(self, free: int | None) -> int | None:
        """What of `free` bytes may be computed in, while the network runs; None where that is no limit."""
        limits = [] if free is None else [free - self.slot_bytes]
        if self.placement is not None and self.needs is not None and self.placement.budget is not None:
            limits.append(self.placement.budget - self.needs.on_device(self.placement))
        return max(min(limits), 0) if limits else None

    def release(self) -> None:
        """Give back what is beside the network."""
        if self.streaming:
            self.streaming.release()


def place(
    recipe: Recipe, activation_bytes: int, device: torch.device, check: _Check, *, too_much: str | None = None
) -> Placed:
    """Build and place the network of `recipe`.

    Args:
        activation_bytes: what is to be computed with it first.
        check: called between two weights; raises where the user has cancelled.
        too_much: a mode of placement that memory has run out in.

    Raises:
        LTX2Error: it cannot be placed as the user chose.
    """
    placement = placement_of(recipe)
    if placement is None:
        return Placed(recipe.build(check=check))
    blocks, stack = BLOCKS[recipe.kind], recipe.on_the_way
    network = recipe.build(check=check, merge_later=f"{blocks.path}.")
    needs = Needs.of(network, [each.path for each in blocks.lists], stack, activation_bytes)
    placement = choose(placement, needs, available(device), current().free_ram(), too_much)
    if placement.mode == RESIDENT:
        stack.finish(network, f"{blocks.path}.", check)
        recipe.tell(network)
        return Placed(network, None, placement, needs)
    recipe.tell(network)
    streaming, placement = _streamed(recipe, network, placement, needs, device, check)
    # Slots may hold more than a block as it is used: what is merged into it, and what it was before it was cast.
    largest = -(-streaming.slot_bytes // min(placement.slots, needs.num_blocks))
    return Placed(network, streaming, placement, replace(needs, largest=largest))


def _streamed(
    recipe: Recipe, network: Any, placement: Placement, needs: Needs, device: torch.device, check: _Check
) -> tuple[StreamedNetwork, Placement]:
    """The blocks of `network` streamed, and from where: from disk where RAM runs out and the user lets it."""
    stream = partial(
        StreamedNetwork,
        network,
        BLOCKS[recipe.kind],
        device=device,
        name=recipe.file.path.name,
        check=current().check_cancelled,
        on_bytes=check,
        stack=recipe.on_the_way,
    )
    try:
        return stream(placement=placement), placement
    except (MemoryError, RuntimeError) as error:
        if placement.mode != RAM or not is_of_machine(error):
            raise
        clear_frames(error)
        if not _decides(recipe):
            raise LTX2Error(
                f"'{RAM}' keeps {needs.blocks / 1e9:.1f} GB of blocks in RAM; it ran out while they were brought "
                f"there: choose '{DISK}', or '{AUTOMATIC}'"
            ) from error
    logger.warning("%r: RAM ran out while its blocks were brought there: they are streamed from disk", recipe)
    placement = replace(placement, mode=DISK)
    return stream(placement=placement), placement


def placement_of(recipe: Recipe) -> Placement | None:
    """How the user wants it placed; None where that is left to the host, as all small networks are."""
    return recipe.placement if recipe.kind in BLOCKS else None


def available(device: torch.device) -> int | None:
    """Bytes that a network and its computing may have on `device`; None where that is no limit (CPU)."""
    host = current()
    free = host.free_memory(device)
    return None if free is None else free + host.reclaimable_memory(device)


def _decides(recipe: Recipe) -> bool:
    placement = placement_of(recipe)
    return placement is not None and placement.mode == AUTOMATIC


def may_be_less(recipe: Recipe, mode: str) -> bool:
    """Whether a network that is placed in `mode` may be placed in less, as far as its user goes."""
    return _decides(recipe) and mode in LESS
