"""Benchmarks' modules under the names by which they import each other; they use the installed pack."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """`benchmark_module("report")` is benchmarks/report.py."""

    def load(name: str) -> ModuleType:
        # Only for as long as modules are imported: other tests must not find the scripts by their names.
        sys.path.insert(0, str(FOLDER))
        try:
            return import_module(name)
        finally:
            sys.path.remove(str(FOLDER))

    return load
