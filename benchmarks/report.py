"""What benchmarks report: rows with a goal each, one table of them, and JSON lines that say where they come from."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

ROOT = Path(__file__).resolve().parents[1]
HEAD = f"{'id':6} {'what':88} {'unit':10} {'ours':>9} {'peer':>9} {'ratio':>6} {'goal':>15}  pass"


@dataclass(frozen=True)
class Row:
    """One number of ours, beside a peer's where there is one, and the goal for it. Less is better in every row.

    Attributes:
        id: The goal's, such as "S1"; several rows may share one.
        what: The case, in so many words that the row can be read alone.
        unit: Of `ours` and `peer`.
        peer: None where the goal is for ours alone.
        goal: What `of` must not exceed; None where the number is only reported.
        of: "ours" or "ratio", which is ours over the peer's.
    """

    id: str
    what: str
    unit: str
    ours: float
    peer: float | None
    goal: float | None
    of: Literal["ours", "ratio"]

    def __post_init__(self) -> None:
        if self.of not in ("ours", "ratio"):
            raise ValueError(f"a goal must be for ours or the ratio; got {self.of!r} in {self.id}")
        if self.of == "ratio" and not self.peer:
            raise ValueError(f"a goal for the ratio must have a peer's number; got {self.peer} in {self.id}")

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def passes(self) -> bool | None:
        """None where there is no goal."""
        return None if self.goal is None else getattr(self, self.of) <= self.goal


def line(row: Row) -> str:
    """A line of the table whose first is `HEAD`."""
    goal = "" if row.goal is None else f"{row.of} <= {row.goal:.4g}"
    verdict = {None: "", True: "yes", False: "NO"}[row.passes]
    cells = f"{_number(row.ours)} {_number(row.peer)} {'' if row.ratio is None else format(row.ratio, '.3f'):>6}"
    return f"{row.id:6} {row.what:88} {row.unit:10} {cells} {goal:>15}  {verdict}".rstrip()


def _number(value: float | None) -> str:
    return f"{'' if value is None else format(value, '.4g'):>9}"


def record(row: Row, settings: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it, with the settings of its run."""
    return {**asdict(row), "ratio": row.ratio, "pass": row.passes, **settings}


def write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines, one for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")


def settings(device: str, dtypes: str) -> dict[str, Any]:
    """Where numbers come from. `dtypes` says in which dtype what was computed or counted."""
    return {
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "diffusers": _version("diffusers"),
        "machine": f"{platform.system()} {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "device": device,
        "threads": torch.get_num_threads(),
        "dtypes": dtypes,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit, with "+" where tracked sources have changed since; None where there is no git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", "*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
