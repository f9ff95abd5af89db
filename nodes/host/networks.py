"""Ready networks, borrowed by recipe. At most one of a kind is kept; it goes when its last recipe does."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ...ltx2.precision.low_rank import bytes_beside
from ...ltx2.precision.packed import expanded_bytes
from ...ltx2.recipe import Lease, Recipe
from . import current
from .checks import check_within
from .long_load import long_load
from .placing import Placed, may_be_less, place

logger = logging.getLogger("ltx2")

#: Which part of the model a network of each kind is, as the host's flags name it.
_PARTS = {
    "transformer": "transformer",
    "text encoder": "text",
    "vision tower": "text",
    "video VAE": "vae",
    "audio VAE": "vae",
    "vocoder": "vae",
    "latent upsampler": "vae",
}


@dataclass
class _Resident:
    """A ready network as it is placed, the host's handle on it, and the leases of all its recipes that were used."""

    recipe: Recipe
    placed: Placed
    handle: Any
    num_bytes: int
    leases: set[weakref.ref[Lease]] = field(default_factory=set)

    @property
    def network(self) -> Any:
        return self.placed.network


class NetworkCache:
    """The networks of this process, one of each kind.

    A second recipe of a kind replaces the first: where it differs in LoRAs alone, the network that is there is changed
    to it; else the first is released before the second is built. Two never stand side by side.
    """

    def __init__(self) -> None:
        self._residents: dict[str, _Resident] = {}
        self._too_much: dict[Recipe, str] = {}  # modes of placement that memory has run out in
        # Not re-entrant: garbage collection may end a lease in the middle of a borrow of the same thread.
        self._lock = threading.Lock()
        self._ended: deque[tuple[str, weakref.ref[Lease], weakref.ref[_Resident]]] = deque()

    def borrow(self, *recipes: Recipe, activation_bytes: int = 0) -> tuple[Any, ...]:
        """The networks of `recipes`, one of a kind, on the host's device with room for what they will compute.

        Valid until the next call; borrow again before each use.
        """
        assert len({recipe.kind for recipe in recipes}) == len(recipes), "one network of a kind at a time"
        try:
            with self._lock:
                residents = [self._resident(recipe, activation_bytes) for recipe in recipes]
                # Hosts know the tensors that a network lists; what is beside them needs room all the same.
                beside = sum(bytes_beside(one.placed.held) + one.placed.slot_bytes for one in residents)
                beside += max(expanded_bytes(resident.network) for resident in residents)
                current().load([resident.handle for resident in residents], activation_bytes + beside)
                return tuple(resident.network for resident in residents)
        finally:
            self._end_leases()

    def weight_bytes(self, *recipes: Recipe) -> int:
        """Bytes of the weights of those of `recipes` whose networks are ready."""
        with self._lock:
            residents = [self._residents.get(recipe.kind) for recipe in recipes]
            return sum(each.num_bytes for each in residents if each is not None)

    def left(self, free: int | None, *recipes: Recipe) -> int | None:
        """What of `free` bytes of the device may be computed in, while the ready networks of `recipes` run."""
        with self._lock:
            for resident in [self._residents[recipe.kind] for recipe in recipes if recipe.kind in self._residents]:
                free = resident.placed.left(free)
        return free

    def place_in_less(self, *recipes: Recipe) -> bool:
        """Have the next borrow of these place their networks in less, for memory ran out; whether any user lets it."""
        found = False
        with self._lock:
            for recipe in recipes:
                resident = self._residents.get(recipe.kind)
                if resident is None or resident.placed.placement is None:
                    continue
                mode = resident.placed.placement.mode
                if may_be_less(recipe, mode):
                    logger.warning("%r was %s, and memory ran out: it is placed in less", recipe, mode)
                    self._too_much[recipe.without_lease()] = mode
                    self._drop(recipe.kind)
                    found = True
        return found

    def clear(self) -> None:
        """Release every network."""
        with self._lock:
            for kind in list(self._residents):
                self._drop(kind)
            self._too_much.clear()
        self._end_leases()

    def _resident(self, recipe: Recipe, activation_bytes: int) -> _Resident:
        device = current().device(_PARTS.get(recipe.kind, ""))
        if recipe.kind in self._residents and self._residents[recipe.kind].recipe != recipe:
            # No local name may hold the old network here: it must be gone before a new one is built.
            self._change(recipe)
        if recipe.kind in self._residents:
            if not self._residents[recipe.kind].placed.is_enough(recipe, activation_bytes, device):
                self._drop(recipe.kind)
        if recipe.kind not in self._residents:
            self._residents[recipe.kind] = self._build(recipe, activation_bytes, device)
        resident = self._residents[recipe.kind]
        resident.placed.tell(recipe, activation_bytes, device)
        self._note_lease(resident, recipe)
        return resident

    def _change(self, recipe: Recipe) -> None:
        """Make the resident network that of `recipe` where only LoRAs differ; else, and if that fails, drop it."""
        host, resident = current(), self._residents[recipe.kind]
        restack = recipe.restack(resident.recipe)
        if restack is None or (resident.placed.streaming and restack.moves_weights(resident.network)):
            # Of a streamed network nothing is merged yet, or all is in RAM: it is soon made anew.
            del resident
            self._drop(recipe.kind)
            return
        host.check_cancelled()
        logger.info("changing %r to %r", resident.recipe, recipe)
        # Whoever looks while it is changed, or after that has failed, must not find it.
        del self._residents[recipe.kind]
        try:
            if restack.moves_weights(resident.network):
                with long_load(f"changing LoRAs to {recipe!r}", host.check_cancelled) as check:
                    resident.handle.change(partial(restack, check=check))
            else:
                restack(resident.network)
        except BaseException:
            resident.handle.release()
            raise
        resident.recipe = recipe.without_lease()
        self._residents[recipe.kind] = resident

    def _build(self, recipe: Recipe, activation_bytes: int, device: torch.device) -> _Resident:
        host, identity = current(), recipe.without_lease()
        host.check_cancelled()
        logger.info("loading %r", recipe)
        with long_load(f"loading {recipe!r}", host.check_cancelled) as check:
            placed = place(recipe, activation_bytes, device, check, too_much=self._too_much.get(identity))
        check_within(placed.network)
        num_bytes = sum(tensor.nbytes for tensor in placed.held.state_dict().values())
        handle = host.hold(placed.held, num_bytes, _PARTS.get(recipe.kind, ""))
        return _Resident(identity, placed, handle, num_bytes + placed.slot_bytes)

    def _note_lease(self, resident: _Resident, recipe: Recipe) -> None:
        if recipe.lease is None:
            return
        reference = weakref.ref(recipe.lease)
        if reference not in resident.leases:
            resident.leases.add(reference)
            weakref.finalize(recipe.lease, self._lease_ended, recipe.kind, reference, weakref.ref(resident))

    def _lease_ended(self, kind: str, reference: weakref.ref[Lease], owner: weakref.ref[_Resident]) -> None:
        self._ended.append((kind, reference, owner))
        self._end_leases()

    def _end_leases(self) -> None:
        """Drop networks whose last lease has ended, unless a borrow is under way: it looks here when it is done."""
        while self._ended and self._lock.acquire(blocking=False):
            try:
                kind, reference, owner = self._ended.popleft()
                resident = owner()
                if resident is not None:
                    resident.leases.discard(reference)
                    if not resident.leases and self._residents.get(kind) is resident:
                        self._drop(kind)
            finally:
                self._lock.release()

    def _drop(self, kind: str) -> None:
        if resident := self._residents.pop(kind, None):
            logger.info("freeing %r", resident.recipe)
            resident.handle.release()
            resident.placed.release()


CACHE = NetworkCache()


def borrow(*recipes: Recipe, activation_bytes: int = 0) -> tuple[Any, ...]:
    """The ready networks of `recipes`, on the host's device, from the process's one cache."""
    return CACHE.borrow(*recipes, activation_bytes=activation_bytes)


def left(free: int | None, *recipes: Recipe) -> int | None:
    """What of `free` bytes of the device may be computed in, while the networks of `recipes` run; None for no limit."""
    return CACHE.left(free, *recipes)


def place_in_less(*recipes: Recipe) -> bool:
    """Have the next borrow of these place their networks in less; False where no user lets it."""
    return CACHE.place_in_less(*recipes)


def weight_bytes(*recipes: Recipe) -> int:
    """Bytes of the weights of those of `recipes` whose networks are in the process's one cache."""
    return CACHE.weight_bytes(*recipes)
