"""Keeps README's table of memory and speed. Run from the repository's root: `python -m tools.benchmarks`.

It shows what `make bench` wrote to `benchmarks/results`, goals that are missed too. This folder is a development tool
and no part of the pack.
"""
