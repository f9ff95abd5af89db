"""Keeps the English texts of ComfyUI's frontend. Run from the repository's root: `python -m tools.locales`.

`locales/en/nodeDefs.json` is written from the schemas; `locales/zh/nodeDefs.json` is written by hand, and what it lacks
or has too much is named. This folder is a development tool and no part of the pack.
"""
