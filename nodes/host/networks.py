"""Ready networks, borrowed by recipe. At most one of a kind is kept; it goes when its last recipe does."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...ltx2.precision.low_rank import bytes_beside
from ...ltx2.recipe import Lease, Recipe
from . import current
from .checks import check_within
from .long_load import long_load

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
    """A ready network, the host's handle on it, and the leases of all its recipes that were borrowed."""

    recipe: Recipe
    network: Any
    handle: Any
    num_bytes: int
    leases: set[weakref.ref[Lease]] = field(default_factory=set)


class NetworkCache:
    """The networks of this process, one of each kind.

    A second recipe of a kind replaces the first: where it differs in LoRAs alone, the network that is there is changed
    to it; else the first is released before the second is built. Two never stand side by side.
    """

    def __init__(self) -> None:
        self._residents: dict[str, _Resident] = {}
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
                residents = [self._resident(recipe) for recipe in recipes]
                # Hosts know the tensors that a network lists; what is beside them needs room all the same.
                beside = sum(bytes_beside(resident.network) for resident in residents)
                current().load([resident.handle for resident in residents], activation_bytes + beside)
                return tuple(resident.network for resident in residents)
        finally:
            self._end_leases()

    def weight_bytes(self, *recipes: Recipe) -> int:
        """Bytes of the weights of those of `recipes` whose networks are ready."""
        with self._lock:
            residents = [self._residents.get(recipe.kind) for recipe in recipes]
            return sum(each.num_bytes for each in residents if each is not None)

    def clear(self) -> None:
        """Release every network."""
        with self._lock:
            for kind in list(self._residents):
                self._drop(kind)
        self._end_leases()

    def _resident(self, recipe: Recipe) -> _Resident:
        if recipe.kind in self._residents and self._residents[recipe.kind].recipe != recipe:
            # No local name may hold the old network here: it must be gone before a new one is built.
            self._change(recipe)
        if recipe.kind not in self._residents:
            self._residents[recipe.kind] = self._build(recipe)
        resident = self._residents[recipe.kind]
        self._note_lease(resident, recipe)
        return resident

    def _change(self, recipe: Recipe) -> None:
        """Make the resident network that of `recipe` where only LoRAs differ; else, and if that fails, drop it."""
        host, resident = current(), self._residents[recipe.kind]
        restack = recipe.restack(resident.recipe)
        if restack is None:
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

    def _build(self, recipe: Recipe) -> _Resident:
        host = current()
        host.check_cancelled()
        logger.info("loading %r", recipe)
        with long_load(f"loading {recipe!r}", host.check_cancelled) as check:
            network = recipe.build(check=check)
        check_within(network)
        num_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
        handle = host.hold(network, num_bytes, _PARTS.get(recipe.kind, ""))
        return _Resident(recipe.without_lease(), network, handle, num_bytes)

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


CACHE = NetworkCache()


def borrow(*recipes: Recipe, activation_bytes: int = 0) -> tuple[Any, ...]:
    """The ready networks of `recipes`, on the host's device, from the process's one cache."""
    return CACHE.borrow(*recipes, activation_bytes=activation_bytes)


def weight_bytes(*recipes: Recipe) -> int:
    """Bytes of the weights of those of `recipes` whose networks are in the process's one cache."""
    return CACHE.weight_bytes(*recipes)
