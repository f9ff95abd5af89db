"""Writes the tables of the committed results into README."""

from __future__ import annotations

from pathlib import Path

from .table import with_tables

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    readme = ROOT / "README.md"
    written = with_tables(readme.read_text(encoding="utf-8"), ROOT / "benchmarks" / "results")
    readme.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
