"""The cache of ready networks: one of a kind, equal recipes share it, gone with the last recipe."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch


@pytest.fixture
def cache(pack, host):
    return pack("nodes.host.networks").NetworkCache()


@pytest.fixture
def recipe(pack):
    new_lease = pack("ltx2.recipe").Lease

    @dataclass(frozen=True)
    class TinyRecipe:
        kind: ClassVar[str] = "tiny"
        built: ClassVar[list[Any]] = []
        released: ClassVar[list[Any]] = []
        name: str
        lease: Any = field(default_factory=new_lease, compare=False)

        def without_lease(self):
            return replace(self, lease=None)

        def restack(self, built):
            return None

        def build(self, check):
            self.built.append(self.name)
            return torch.nn.Linear(2, 2)

    TinyRecipe.built.clear()
    return TinyRecipe


def test_equal_recipes_share_a_network(cache, recipe):
    first, second = recipe("a"), recipe("a")
    assert cache.borrow(first) == cache.borrow(second)
    assert recipe.built == ["a"]


def test_another_recipe_of_the_kind_replaces_the_first(cache, recipe):
    first, second = recipe("a"), recipe("b")
    cache.borrow(first)
    cache.borrow(second)
    assert len(cache._residents) == 1
    cache.borrow(first)
    assert recipe.built == ["a", "b", "a"]


def test_the_network_goes_with_the_last_lease(cache, recipe):
    first, second = recipe("a"), recipe("a")
    cache.borrow(first)
    cache.borrow(second)
    del first
    gc.collect()
    assert cache._residents
    del second
    gc.collect()
    assert not cache._residents


def test_a_lease_of_a_replaced_recipe_does_not_free_its_successor(cache, recipe):
    first, second = recipe("a"), recipe("b")
    cache.borrow(first)
    cache.borrow(second)
    del first
    gc.collect()
    assert cache._residents["tiny"].recipe.name == "b"


def test_a_failed_build_leaves_nothing_behind(cache, recipe):
    class Broken(recipe):
        def build(self, check):
            raise MemoryError("no room")

    good = recipe("a")
    cache.borrow(good)
    with pytest.raises(MemoryError):
        cache.borrow(Broken("b"))
    assert not cache._residents
    cache.borrow(good)
    assert recipe.built == ["a", "a"]
