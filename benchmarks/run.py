"""Runs the benchmarks on the CPU and prints one table; a whole run is kept in `results/cpu.jsonl`.

python benchmarks/run.py [--only NAME ...] [--output FILE]
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from report import HEAD, line, record, settings, write

MODULES = ("text", "guidance", "transformer", "vae", "decoding", "loading", "memory", "lossy")
RESULTS = Path(__file__).with_name("results") / "cpu.jsonl"
DTYPES = "counts in bf16, times in fp32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MODULES, metavar="NAME", help=f"some of {', '.join(MODULES)}")
    parser.add_argument("--output", type=Path, help="where JSON lines go; a whole run goes to results/cpu.jsonl")
    given = parser.parse_args()
    # Two threads wait for each other where another process has one of the cores; one thread is steady.
    torch.set_num_threads(1)
    where = settings("cpu", DTYPES)
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    records = list(run(given.only or MODULES, where))
    output = given.output or (None if given.only else RESULTS)
    if output:
        write(output, records)


def run(modules: tuple[str, ...] | list[str], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record of each row. Prints each row as it comes, and in the end how long each module took."""
    print(HEAD)
    seconds = {}
    for module in modules:
        start = time.perf_counter()
        for row in importlib.import_module(module).rows():
            print(line(row), flush=True)
            yield {"module": module, **record(row, where)}
        seconds[module] = time.perf_counter() - start
    print(", ".join(f"{module} {taken:.0f} s" for module, taken in seconds.items()), end="; ")
    print(f"{sum(seconds.values()):.0f} s in all")


if __name__ == "__main__":
    main()
