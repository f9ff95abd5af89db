"""The rows of a batch: tables of overrides, in CSV or JSONL."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ltx2.errors import LTX2Error
from ..nodes.host.graph.document import Graph, Text

CHUNK = 1 << 20


@dataclass(frozen=True)
class Row:
    """One graph of a batch: its place, counted from 1, and {"title.input": value}."""

    number: int
    overrides: Mapping[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file.

    A .csv file names "title.input" in its first line; cells are read as `--set` reads values, and an empty one leaves
    the graph's value as it is. Other files hold a JSON object of overrides in each line. Empty lines count for nothing.

    Raises:
        LTX2Error: a file that cannot be read, or the first line that is wrong.
    """
    reading = _csv if path.suffix.lower() == ".csv" else _jsonl
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [Row(number, overrides) for number, overrides in enumerate(reading(file, path), start=1)]
    except OSError as error:
        raise LTX2Error(f"rows must be a readable file; {path} is not: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LTX2Error(f"rows must be a CSV or JSONL file in UTF-8; {path} is not: {error}") from error
    if not rows:
        raise LTX2Error(f"a batch must have rows; {path} has none; write one a line")
    return rows


def _csv(file: Any, path: Path) -> Iterator[dict[str, Any]]:
    lines = csv.reader(file, strict=True)
    names = [name.strip() for name in next(lines, [])]
    if len(set(names)) != len(names) or not all(names):
        raise LTX2Error(f"columns must have names, each its own; {path} has {', '.join(names) or 'none'}; name them")
    for cells in lines:
        if any(cells):
            if len(cells) != len(names):
                where = f"{path}, line {lines.line_num}"
                raise LTX2Error(
                    f"a row must have {len(names)} cells; {where} has {len(cells)}; quote cells with commas"
                )
            yield {name: Text(cell) for name, cell in zip(names, cells, strict=True) if cell}


def _jsonl(file: Any, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                overrides = json.loads(line)
            except ValueError as error:
                raise LTX2Error(f"a line of rows must be JSON; {path}, line {number} is not: {error}") from error
            if not isinstance(overrides, dict):
                raise LTX2Error(f'a row must be an object {{"title.input": value}}; {path}, line {number} is none')
            yield overrides


def key_of(graph: Graph, files: list[tuple[str, str, Path]]) -> str:
    """What a row is known by: its nodes with their values, and the content of the files that it reads from here."""
    digest = hashlib.sha256(json.dumps(graph.prompt, sort_keys=True).encode())
    for node_id, name, path in files:
        digest.update(f"\n{node_id}.{name}\n".encode())
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
    return digest.hexdigest()[:24]
