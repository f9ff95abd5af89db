"""Where files of a server may go on this machine: inside the folder that was asked for, over nothing that is there."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from ..ltx2.errors import LTX2Error


def contained(folder: Path, name: str) -> Path:
    """`folder / name`.

    Raises:
        LTX2Error: that leads out of `folder`.
    """
    if "\\" in name or not is_within(folder, name):
        raise LTX2Error(f"a server's files must be named within {folder}; got '{name}'; check what the server is")
    return folder / name


def is_within(folder: Path, name: str) -> bool:
    """Whether `name` leads to a place below `folder`, links followed."""
    root, path = folder.resolve(), (folder / name).resolve()
    return path != root and path.is_relative_to(root)


def free_name(path: Path, taken: Container[Path]) -> Path:
    """`path`, or where that exists or is taken the first of "clip (2).mp4", "clip (3).mp4" that is free."""
    number, free = 1, path
    while free in taken or free.exists():
        number += 1
        free = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return free
