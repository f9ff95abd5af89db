"""Clips and sounds that exist already, as latents."""

from __future__ import annotations

from typing import Any

NODES: list[type[Any]] = []
