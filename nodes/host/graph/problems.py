"""Everything that is wrong with a graph, in ComfyUI's error shape and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....ltx2.errors import LTX2Error


@dataclass(frozen=True)
class Problem:
    """One error of one node: the four fields that ComfyUI sends, and the cure, which it does not have."""

    type: str
    message: str
    details: str
    extra_info: dict[str, Any] = field(default_factory=dict)
    cure: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "message": self.message,
            "details": self.details,
            "extra_info": self.extra_info,
        }

    def __str__(self) -> str:
        name = self.extra_info.get("input_name")
        what = f"{self.message} ({self.details})" if self.details and self.details != name else self.message
        where = f"input '{name}': " if name is not None else ""
        return f"{where}{what}" + (f"; {self.cure}" if self.cure else "")


class GraphError(LTX2Error):
    """A graph that cannot run; nothing was computed.

    `report` is the body of ComfyUI's 400 answer: {"error": ..., "node_errors": {id: ...}}.
    """

    def __init__(self, error: Problem, node_errors: Mapping[str, Mapping[str, Any]], text: str):
        super().__init__(text)
        self.report = {"error": error.as_dict(), "node_errors": dict(node_errors)}


GraphError.__module__ = "ltx2"


def node_title(prompt: Mapping[str, Any], node_id: str, display_name: str | None = None) -> str:
    """How a person knows the node: its title, else its class's display name, else its class."""
    node = prompt[node_id]
    return node.get("_meta", {}).get("title") or display_name or str(node.get("class_type"))


def node_label(prompt: Mapping[str, Any], node_id: str, display_name: str | None = None) -> str:
    """`Canvas (node 5, LTX2_Canvas)`."""
    title = node_title(prompt, node_id, display_name)
    return f"{title} (node {node_id}, {prompt[node_id].get('class_type')})"
