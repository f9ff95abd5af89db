"""Runs every `bench_*.py` of this folder, in order of their names."""

from __future__ import annotations

import runpy
from pathlib import Path


def main() -> None:
    scripts = sorted(Path(__file__).parent.glob("bench_*.py"))
    print(f"{len(scripts)} benchmarks")
    for script in scripts:
        print(f"\n{script.stem}")
        runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
