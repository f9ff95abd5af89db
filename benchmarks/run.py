"""Runs every benchmark."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPTS = ("text", "transformer", "guidance", "memory")


def main() -> None:
    for script in SCRIPTS:
        print(f"\n{script}")
        runpy.run_path(str(Path(__file__).with_name(f"{script}.py")), run_name="__main__")


if __name__ == "__main__":
    main()
