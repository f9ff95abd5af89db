"""What ComfyUI asks of a pack: its nodes, made for the host that ComfyUI is."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyExtension

from .. import use
from .host import ComfyHost


class LTX2Extension(ComfyExtension):
    """The pack's nodes. Making one chooses ComfyUI as the host and imports every node, so errors come at once."""

    def __init__(self) -> None:
        use(ComfyHost())
        # Only now: node modules ask for the host when they are imported.
        from ... import node_classes

        self._nodes = node_classes()

    async def get_node_list(self) -> list[type[Any]]:
        """The node classes, in the order in which a graph uses them."""
        return self._nodes
