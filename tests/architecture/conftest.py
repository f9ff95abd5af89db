"""The pack's sources as syntax trees, for tests of its structure."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file of the pack."""

    path: Path  # relative to the repository root
    text: str
    tree: ast.Module

    def imports(self) -> list[tuple[int, str]]:
        """Every import, lazy ones too, as (level, dotted name); level 0 is an absolute import."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(0, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.append((node.level, node.module))
            elif isinstance(node, ast.ImportFrom):
                found += [(node.level, alias.name) for alias in node.names]
        return found

    def targets(self) -> list[str]:
        """What its relative imports name, as dotted paths from the repository root."""
        resolved = []
        for level, name in self.imports():
            if level:
                package = self.path.parent.parts
                assert level - 1 <= len(package), f"{self.path} imports from above the repository root"
                resolved.append(".".join([*package[: len(package) - level + 1], name]))
        return resolved


def sources_of(*patterns: str) -> list[Source]:
    found = []
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        found.append(Source(path.relative_to(ROOT), text, ast.parse(text)))
    return found


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """What runs at a user's: the root's modules, the client, the library and the nodes."""
    found = sources_of("*.py", "client/**/*.py", "ltx2/**/*.py", "nodes/**/*.py")
    return [s for s in found if s.path.name != "setup.py"]


@pytest.fixture(scope="session")
def all_sources(sources) -> list[Source]:
    """The pack and everything beside it: tests, benchmarks, scripts."""
    return [*sources, *sources_of("setup.py", "tests/**/*.py", "benchmarks/**/*.py", "workflows/**/*.py", ".ci/*.py")]
