"""A subgraph blueprint: a graph as one node that people add to theirs, in ComfyUI's format for subgraphs (version 1).

Links inside carry slots that count every input of a node, so nodes list all of them, as the frontend does itself:
sockets first, then those that a widget holds the value of.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from .sheet import NAMESPACE, WIDGET, Node, Output, Sheet, node_document

INPUT_NODE, OUTPUT_NODE = -10, -20  # ids of the boundary
BOUNDARY_WIDTH, BOUNDARY_GAP, SLOT = 120, 180, 20
FIRST_SLOT = 30  # below the top of a boundary
WIDTH, TEXT = 400, 120  # of the node outside: its width, and what a prompt needs besides a row


def blueprint(
    sheet: Sheet, about: str, inputs: Mapping[str, tuple[Node, str]], outputs: Mapping[str, Output]
) -> dict[str, Any]:
    """The blueprint of a graph that is laid out.

    Args:
        about: what it does, for who looks for it.
        inputs: {name outside: (node, name of its input)}.
        outputs: {name outside: an output inside}.
    """
    links = _Links()
    for node in sheet.nodes:
        for name, source in node.links.items():
            links.add(source.node.id, source.slot, node.id, _slots(node).index(name), source.type)
    inward, outward = {}, {}
    for slot, (name, (node, inner)) in enumerate(inputs.items()):
        inward[name] = links.add(INPUT_NODE, slot, node.id, _slots(node).index(inner), node.inputs[inner][0])
    for slot, (name, source) in enumerate(outputs.items()):
        outward[name] = links.add(source.node.id, source.slot, OUTPUT_NODE, slot, source.type)
    right = max(x + width for x, _, width, _ in (group["bounding"] for group in sheet.groups))
    id_ = str(uuid.uuid5(NAMESPACE, f"{sheet.name} blueprint"))
    definition = {
        "id": id_,
        "version": 1,
        "state": {"lastGroupId": len(sheet.groups), "lastNodeId": len(sheet.nodes), "lastLinkId": len(links.all)}
        | {"lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": sheet.name,
        "description": about,
        "category": "LTX-2",
        **_boundary("input", INPUT_NODE, -BOUNDARY_GAP - BOUNDARY_WIDTH, inward, links),
        **_boundary("output", OUTPUT_NODE, right + BOUNDARY_GAP, outward, links),
        "widgets": [],
        "nodes": [_node(node, links) for node in sheet.nodes],
        "groups": sheet.groups,
        "links": links.all,
        "extra": {},
    }
    return {
        "revision": 0,
        "last_node_id": len(sheet.nodes) + 1,
        "last_link_id": 0,
        "nodes": [_instance(definition, len(sheet.nodes) + 1)],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition]},
        "extra": {},
    }


def text(document: Mapping[str, Any]) -> str:
    """ASCII: ComfyUI 0.8 reads blueprints in the encoding of the system."""
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


class _Links:
    """Links as objects, which definitions use."""

    def __init__(self):
        self.all: list[dict[str, Any]] = []

    def add(self, origin: int, origin_slot: int, target: int, target_slot: int, type_: str) -> int:
        ends = {"origin_id": origin, "origin_slot": origin_slot, "target_id": target, "target_slot": target_slot}
        self.all.append({"id": len(self.all) + 1, **ends, "type": type_})
        return len(self.all)

    def into(self, node: int, slot: int) -> int | None:
        return next((x["id"] for x in self.all if (x["target_id"], x["target_slot"]) == (node, slot)), None)

    def out_of(self, node: int, slot: int) -> list[int]:
        return [x["id"] for x in self.all if (x["origin_id"], x["origin_slot"]) == (node, slot)]


def _slots(node: Node) -> list[str]:
    """Names of a node's inputs in the order of the frontend's slots."""
    return [name for name in node.inputs if name not in node.widgets] + list(node.widgets)


def _node(node: Node, links: _Links) -> dict[str, Any]:
    plain = node_document(node, {(node.id, name): 0 for name in node.links}, [])
    plain["inputs"] = [
        {"name": name, "type": node.inputs[name][0]}
        | ({"widget": {"name": name}} if name in node.widgets else {})
        | {"link": links.into(node.id, slot)}
        for slot, name in enumerate(_slots(node))
    ]
    for slot, output in enumerate(plain["outputs"]):
        output["links"] = links.out_of(node.id, slot)
    return plain


def _boundary(side: str, node: int, left: int, ends: Mapping[str, int], links: _Links) -> dict[str, Any]:
    """The node at which a subgraph's inputs arrive, or its outputs leave, and its slots."""
    slots = [
        {
            "id": str(uuid.uuid5(NAMESPACE, f"{side} {name}")),
            "name": name,
            "type": links.all[link - 1]["type"],
            "linkIds": [link],
            "pos": [left + (BOUNDARY_WIDTH - SLOT if side == "input" else SLOT), FIRST_SLOT + index * SLOT],
        }
        for index, (name, link) in enumerate(ends.items())
    ]
    size = [BOUNDARY_WIDTH, 2 * FIRST_SLOT + len(ends) * SLOT]
    return {f"{side}Node": {"id": node, "bounding": [left, 0, *size]}, f"{side}s": slots}


def _instance(definition: Mapping[str, Any], id_: int) -> dict[str, Any]:
    """The node outside."""
    nodes = {node["id"]: node for node in definition["nodes"]}
    inputs = []
    for each in definition["inputs"]:
        link = definition["links"][each["linkIds"][0] - 1]
        inner = nodes[link["target_id"]]["inputs"][link["target_slot"]]
        widget = {"widget": {"name": each["name"]}} if "widget" in inner else {}
        inputs.append({"name": each["name"], "type": each["type"], **widget, "link": None})
    return {
        "id": id_,
        "type": definition["id"],
        "pos": [0, 0],
        "size": [WIDTH, FIRST_SLOT + WIDGET * len(inputs) + TEXT],
        "flags": {},
        "order": 0,
        "mode": 0,
        "title": definition["name"],
        "inputs": inputs,
        "outputs": [{"name": each["name"], "type": each["type"], "links": []} for each in definition["outputs"]],
        "properties": {"cnr_id": "comfyui-ltx2"},
        "widgets_values": [],
    }
