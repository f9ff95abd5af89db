"""Writes the shipped workflows. Run from the repository's root: `python -m tools.workflows`.

A workflow is one function in `graphs.py`; `sheet.py` places its nodes and writes ComfyUI's format; `models.py` knows
the released files. This folder is a development tool and no part of the pack.
"""
