"""Keeps the tables of the help pages. Run from the repository's root: `python -m tools.docs`.

A page in `web/docs` is written by hand, but for the part between two markers: the inputs and outputs as the node's
schema declares them. This folder is a development tool and no part of the pack.
"""
