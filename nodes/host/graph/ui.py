"""From a UI workflow (version 0.4, what ComfyUI saves) to the API form (what it executes).

What exists on the canvas only is resolved on the way: subgraphs are taken apart, notes vanish, reroutes and bypassed
nodes are looked through, primitive nodes become the values that they hold, and inputs fed by muted nodes are left
unconnected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....ltx2.errors import LTX2Error
from .schemas import InputInfo, NodeInfo, types_meet
from .subgraphs import BYPASSED, MUTED, Constant, flatten

NOTES = ("Note", "MarkdownNote")


def is_ui_workflow(document: Any) -> bool:
    """Whether a JSON document is a UI workflow."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list) and "links" in document


def to_api(workflow: Mapping[str, Any], infos: Mapping[str, NodeInfo]) -> dict[str, dict[str, Any]]:
    """The API form of a UI workflow: node ids and titles are kept, links and widget values become inputs.

    Raises:
        LTX2Error: all nodes that are unknown, or whose widgets do not fit their class, at once.
    """
    workflow = flatten(workflow)
    sources = Sources(workflow)
    prompt: dict[str, dict[str, Any]] = {}
    problems = []
    for node in workflow["nodes"]:
        if node["type"] in (*NOTES, "Reroute", "PrimitiveNode") or node.get("mode") in (MUTED, BYPASSED):
            continue
        info = infos.get(node["type"])
        if info is None:
            problems.append(f"node {node['id']} is of the unknown class '{node['type']}'; install or remove it")
            continue
        values = widget_values(node, info)
        if isinstance(values, str):
            problems.append(values)
            continue
        prompt[str(node["id"])] = {
            "inputs": {name: _literal(value) for name, value in values.items()} | sources.links_of(node),
            "class_type": node["type"],
            "_meta": {"title": node.get("title") or info.display_name},
        }
    if problems:
        raise LTX2Error("\n".join(problems))
    return prompt


def widget_slots(info: NodeInfo) -> list[InputInfo | None]:
    """Whose value each place of `widgets_values` holds; None for widgets that are the frontend's own."""
    slots: list[InputInfo | None] = []
    for each in info.inputs.values():
        if each.has_widget:
            slots += [each] + [None] * each.num_extra_widgets
    return slots


def widget_values(node: Mapping[str, Any], info: NodeInfo) -> dict[str, Any] | str:
    """The widget values of a UI node by input name, or what is wrong with them.

    Widgets that were appended since the workflow was saved take their defaults, as in the frontend.
    """
    saved = node.get("widgets_values") or []
    slots = widget_slots(info)
    if isinstance(saved, dict):
        given = {each.name: saved[each.name] for each in slots if each is not None and each.name in saved}
    else:
        surplus = len(saved) - len(slots) - (1 if info.upload_input else 0)
        if surplus > 0:
            return (
                f"node {node['id']} ({node['type']}) must have at most {len(slots)} widget values; it has "
                f"{len(saved)}; it was saved by another version of its class"
            )
        # Not strict: a workflow may be older or hold the upload button's value.
        given = {each.name: value for each, value in zip(slots, saved, strict=False) if each is not None}
    defaults = {each.name: default_value(each) for each in slots if each is not None}
    return {name: given.get(name, default) for name, default in defaults.items()}


def default_value(info: InputInfo) -> Any:
    """What the frontend puts into a fresh widget."""
    if "default" in info.config:
        return info.config["default"]
    if info.widget_type == "COMBO":
        return next(iter(info.config.get("options") or []), None)
    return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}[info.widget_type or "STRING"]


def _literal(value: Any) -> Any:
    """Lists mean links in the API form, so a list value is wrapped."""
    return {"__value__": value} if isinstance(value, list) else value


class Sources:
    """Where the inputs of a UI workflow's nodes get their values from."""

    def __init__(self, workflow: Mapping[str, Any]):
        self._nodes = {node["id"]: node for node in workflow["nodes"]}
        self._links = {}
        for link in workflow["links"]:
            if isinstance(link, dict):  # version 1 writes links as objects
                link = [link["id"], link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"]]
            self._links[link[0]] = link

    def links_of(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """API values of the linked inputs of `node`: [id, slot], or a primitive node's value."""
        found = {}
        for each in node.get("inputs") or []:
            source = self._source(each.get("link"), ())
            if isinstance(source, Constant):
                found[each["name"]] = _literal(source.value)
            elif source is not None:
                found[each["name"]] = source
        return found

    def _source(self, link_id: int | None, seen: tuple[int, ...]) -> list | Constant | None:
        if link_id is None:
            return None
        if link_id not in self._links:
            raise LTX2Error(f"every link must be listed in 'links'; link {link_id} is not; save the graph again")
        if link_id in seen:
            raise LTX2Error(f"reroutes and bypassed nodes must not form a circle; links {list(seen)} do")
        _, node_id, slot = self._links[link_id][:3]
        node = self._nodes.get(node_id)
        if node is None:
            raise LTX2Error(
                f"every link must start at a node; link {link_id} starts at node {node_id}, which is missing"
            )
        if node["type"] == "PrimitiveNode":
            return Constant((node.get("widgets_values") or [None])[0])
        if node.get("mode") == MUTED:
            return None
        if node["type"] == "Reroute" or node.get("mode") == BYPASSED:
            return self._source(self._link_through(node, slot), (*seen, link_id))
        return [str(node_id), slot]

    @staticmethod
    def _link_through(node: Mapping[str, Any], slot: int) -> int | None:
        """The link that a reroute or a bypassed node passes on: of the same place, else of the same type."""
        inputs = node.get("inputs") or []
        if node["type"] == "Reroute":
            return inputs[0].get("link") if inputs else None
        wanted = str(node["outputs"][slot]["type"])
        same_place = [inputs[slot]] if slot < len(inputs) and types_meet(str(inputs[slot]["type"]), wanted) else []
        same_type = [each for each in inputs if str(each["type"]) == wanted]
        linked = [each["link"] for each in same_place + same_type if each.get("link") is not None]
        return linked[0] if linked else None
