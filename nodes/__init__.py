"""The nodes: thin. They declare sockets and widgets, convert, and call the library."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# In the order in which a graph uses them. They are imported late, for a host must be chosen before.
_MODULES = (
    "loaders",
    "lora",
    "precision",
    "placement",
    "acceleration",
    "prompts",
    "canvas",
    "encoding",
    "guides",
    "editing",
    "guidance",
    "step_cache",
    "token_tiling",
    "schedules",
    "sampling",
    "latents",
    "storage",
    "decoding",
    "saving",
    "bridges",
)


def node_classes() -> list[type[Any]]:
    """Every node of the pack. The host must have been chosen with `nodes.host.use`."""
    return [node for name in _MODULES for node in import_module(f".{name}", __package__).NODES]
