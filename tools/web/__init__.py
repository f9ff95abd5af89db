"""Keeps the numbers that the browser computes with. Run from the repository's root: `python -m tools.web`.

`web/estimates.json` holds the geometry and the coefficients of the memory estimates, read from the library; the browser
adds and multiplies them (`web/js/estimates.mjs`). This folder is a development tool and no part of the pack.
"""
