"""What the benchmark of approximations measures: fewer passes for some error, and less memory in tiles."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def lossy(benchmark_module):
    return benchmark_module("lossy")


def test_a_case_is_held_against_the_exact_run(lossy, monkeypatch):
    monkeypatch.setattr(lossy, "STEPS", {"6 steps": 6})
    monkeypatch.setattr(lossy, "CASES", [case for case in lossy.CASES if case.name.startswith(("skip", "token"))])
    skipped, tiled = lossy.measured()
    assert (skipped.passes, skipped.exact, tiled.passes) == (12, 24, 24)
    assert all(0 < error < 1 for one in (skipped, tiled) for error in one.errors)


def test_tiles_take_a_fraction_of_the_memory(lossy):
    whole, tiled = lossy.tiled_bytes()
    assert 0.2 < tiled / whole < 0.4
