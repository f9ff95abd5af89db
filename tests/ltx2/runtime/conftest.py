"""What benchmarks count with, for tests of what is counted. It uses the installed pack, as benchmarks do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def _loaded(*names: str) -> ModuleType:
    """The last of these benchmark modules, which imports the ones before it."""
    for name in names:
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
    return sys.modules[names[-1]]


@pytest.fixture(scope="session")
def stages() -> ModuleType:
    """benchmarks/stages.py."""
    return _loaded("counting", "stages")


@pytest.fixture(scope="session")
def counting() -> ModuleType:
    """benchmarks/counting.py."""
    return _loaded("counting")


@pytest.fixture(scope="session")
def peers() -> ModuleType:
    """benchmarks/peers.py."""
    return _loaded("peers")
