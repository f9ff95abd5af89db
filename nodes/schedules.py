"""Noise schedules."""

from __future__ import annotations

from typing import Any

NODES: list[type[Any]] = []
