"""Ready networks, borrowed by recipe. At most one of a kind is kept; it goes when its last recipe does."""

from __future__ import annotations

import logging
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

from ...ltx2.recipe import Lease, Recipe
from . import current

logger = logging.getLogger("ltx2")


@dataclass
class _Resident:
    """A ready network, the host's handle on it, and the leases of all equal recipes that were borrowed."""

    recipe: Recipe
    network: Any
    handle: Any
    leases: set[weakref.ref[Lease]] = field(default_factory=set)


class NetworkCache:
    """The networks of this process, one of each kind.

    A second recipe of a kind (the same transformer with a LoRA, say) replaces the first: the first is released before
    the second is built, so that two never stand side by side.
    """

    def __init__(self) -> None:
        self._residents: dict[str, _Resident] = {}
        self._lock = threading.RLock()

    def borrow(self, *recipes: Recipe) -> tuple[Any, ...]:
        """The networks of `recipes`, on the host's device. Valid until the next call; borrow again before each use."""
        with self._lock:
            residents = [self._resident(recipe) for recipe in recipes]
            for resident in residents:
                resident.handle.load()
            return tuple(resident.network for resident in residents)

    def clear(self) -> None:
        """Release every network."""
        with self._lock:
            for kind in list(self._residents):
                self._drop(kind)

    def _resident(self, recipe: Recipe) -> _Resident:
        if recipe.kind in self._residents and self._residents[recipe.kind].recipe != recipe:
            # No local name may hold the old network here: it must be gone before the new one is built.
            self._drop(recipe.kind)
        if recipe.kind not in self._residents:
            self._residents[recipe.kind] = self._build(recipe)
        resident = self._residents[recipe.kind]
        self._note_lease(resident, recipe)
        return resident

    def _build(self, recipe: Recipe) -> _Resident:
        host = current()
        host.check_cancelled()
        logger.info("loading %r", recipe)
        network = recipe.build()
        num_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
        return _Resident(recipe.without_lease(), network, host.hold(network, num_bytes))

    def _note_lease(self, resident: _Resident, recipe: Recipe) -> None:
        if recipe.lease is None:
            return
        reference = weakref.ref(recipe.lease)
        if reference not in resident.leases:
            resident.leases.add(reference)
            weakref.finalize(recipe.lease, self._lease_ended, recipe.kind, reference, weakref.ref(resident))

    def _lease_ended(self, kind: str, reference: weakref.ref[Lease], owner: weakref.ref[_Resident]) -> None:
        with self._lock:
            resident = owner()
            if resident is None:
                return
            resident.leases.discard(reference)
            if not resident.leases and self._residents.get(kind) is resident:
                self._drop(kind)

    def _drop(self, kind: str) -> None:
        if resident := self._residents.pop(kind, None):
            logger.info("freeing %r", resident.recipe)
            resident.handle.release()


CACHE = NetworkCache()


def borrow(*recipes: Recipe) -> tuple[Any, ...]:
    """The ready networks of `recipes`, on the host's device, from the process's one cache."""
    return CACHE.borrow(*recipes)
