"""Results of benchmarks as Markdown, and their place in README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- from benchmarks/results: python -m tools.benchmarks -->", "<!-- end -->"
#: File of results to what stands above its table.
FILES = {"cpu.jsonl": "Counted or timed on a CPU", "gpu.jsonl": "Measured on a GPU, with random weights"}
HEAD = ("Goal", "What", "Unit", "Ours", "Peer", "Ratio", "At most", "Reached")


def with_tables(readme: str, results: Path) -> str:
    """`readme` with the tables of the folder `results` between its markers. Raises ValueError where there are none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README must hold {BEGIN} and {END}; it lacks them: put them where the tables belong")
    files = {results / name: title for name, title in FILES.items() if (results / name).exists()}
    tables = "\n\n".join(table(title, _records(path)) for path, title in files.items())
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def table(title: str, records: list[dict[str, Any]]) -> str:
    """The rows that have a goal, below a line about the run that they are of."""
    run = records[0]
    peer = f", diffusers {run['diffusers']}" if run["diffusers"] else ""
    where = f"{run['device']}, {run['threads']} thread{'s' * (run['threads'] != 1)}, torch {run['torch']}{peer}"
    heading = f"{title}: {where}; {run['dtypes']}; {run['date'][:10]}, commit {run['commit'][:9]}."
    lines = [HEAD, ("---",) * len(HEAD), *map(_cells, (each for each in records if each["goal"] is not None))]
    return "\n".join((heading, "", *(f"| {' | '.join(line)} |" for line in lines)))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f}"
    goal = f"{row['goal']:g}" + (" of the peer's" if row["of"] == "ratio" else "")
    reached = "yes" if row["pass"] else "**no**"
    return (row["id"], row["what"], row["unit"], _number(row["ours"]), _number(row["peer"]), ratio, goal, reached)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
