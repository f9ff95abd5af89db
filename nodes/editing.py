"""Regenerate, extend, cut and join: editing nodes for video and sound together."""

from __future__ import annotations

from typing import Any

NODES: list[type[Any]] = []
