"""Finds the workflows that come with the pack."""

from __future__ import annotations

import re
from pathlib import Path

from ....ltx2.errors import LTX2Error

WORKFLOWS = Path(__file__).resolve().parents[3] / "workflows"


def find_workflow(name: str) -> Path:
    """The shipped UI workflow with this name; else the one whose name has all of its words.

    Raises:
        LTX2Error: none or several fit; lists all.
    """
    shipped = {path.stem: path for path in sorted(WORKFLOWS.glob("*.json"))}
    stem = name.removesuffix(".json")
    if stem in shipped:
        return shipped[stem]
    fitting = [path for each, path in shipped.items() if _words(stem) and _words(stem) <= _words(each)]
    if len(fitting) == 1:
        return fitting[0]
    problem = "is none" if not fitting else "fits several"
    raise LTX2Error(
        f"a graph must be a file or a shipped workflow; '{name}' {problem}; shipped are {', '.join(shipped)}"
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.casefold()))
