"""Keeps what the registry and the Manager read beside pyproject.toml. Run from the repository's root:
`python -m tools.publishing`.

It writes `node_list.json`, which tells the Manager the pack's nodes without running them, and draws `assets/icon.png`
and `assets/banner.png`. This folder is a development tool and no part of the pack.
"""
