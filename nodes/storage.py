"""Latents and prompts kept in files."""

from __future__ import annotations

from typing import Any

NODES: list[type[Any]] = []
