"""What conversion and validation need to know of node classes, read from their /object_info entries.

Written against that JSON (and not against a schema vocabulary) so that a ComfyUI server's answer serves as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
ANY = "*"


@dataclass(frozen=True)
class InputInfo:
    """One input: its link type ("FLOAT", "FLOAT,INT", "LTX2_CANVAS") and its /object_info options."""

    name: str
    type: str
    config: dict[str, Any]
    is_required: bool

    @property
    def widget_type(self) -> str | None:
        """The kind of value that may be given in place of a link; None for a socket that takes links only."""
        first = self.config.get("widgetType", self.type)
        return first if first in WIDGET_TYPES else None

    @property
    def has_widget(self) -> bool:
        """Whether the UI shows a widget, which has a place in `widgets_values`."""
        return self.widget_type is not None and not self.config.get("forceInput")

    @property
    def num_extra_widgets(self) -> int:
        """Widgets that ComfyUI's frontend adds behind this one: what becomes of a seed after each run."""
        is_seed = self.widget_type == "INT" and self.name in ("seed", "noise_seed")
        if not self.config.get("control_after_generate", is_seed):
            return 0
        return 2 if self.widget_type == "COMBO" else 1  # a combo box has a filter besides

    @property
    def is_upload(self) -> bool:
        """Whether the frontend adds an upload button, whose widget value some versions save."""
        return any(self.config.get(f"{kind}_upload") for kind in ("image", "audio", "video", "file"))

    @property
    def as_config(self) -> list:
        """ComfyUI's `input_config`."""
        return [self.type, self.config]


@dataclass(frozen=True)
class NodeInfo:
    """One node class."""

    class_type: str
    display_name: str
    inputs: dict[str, InputInfo]
    outputs: tuple[str, ...]
    is_output_node: bool
    category: str = ""

    @classmethod
    def from_object_info(cls, entry: Mapping[str, Any]) -> NodeInfo:
        inputs = {}
        for group in ("required", "optional"):  # the order in which the frontend lays widgets out
            for name, (type_, *config) in entry["input"].get(group, {}).items():
                options = dict(config[0]) if config else {}
                if isinstance(type_, list):  # the older way to write a combo box
                    type_, options["options"] = "COMBO", type_
                inputs[name] = InputInfo(name, type_, options, group == "required")
        return cls(
            entry["name"],
            entry["display_name"] or entry["name"],
            inputs,
            tuple(entry["output"]),
            entry["output_node"],
            entry.get("category") or "",
        )

    @property
    def upload_input(self) -> str | None:
        return next((each.name for each in self.inputs.values() if each.is_upload), None)


def node_infos(classes: Iterable[Any]) -> dict[str, NodeInfo]:
    """NodeInfo of V3 node classes by id."""
    infos = (NodeInfo.from_object_info(cls.GET_NODE_INFO_V1()) for cls in classes)
    return {info.class_type: info for info in infos}


def types_meet(given: str, wanted: str) -> bool:
    """Whether an output of type `given` may be linked to an input of type `wanted`; both may list several."""
    given_types, wanted_types = set(given.split(",")), set(wanted.split(","))
    return bool(given_types & wanted_types) or ANY in given_types | wanted_types


def is_link(value: Any) -> bool:
    """Whether an input's value is a link: a list, as ComfyUI reserves lists for links."""
    return isinstance(value, list)
