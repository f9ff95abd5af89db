"""Subgraphs of a UI workflow, taken apart: every node on one level, under the ids that the frontend gives them.

Node 3 of the subgraph that node 14 shows is "14:3" in the API form. What a subgraph's node holds for an input that no
link feeds goes to the inner nodes as if it came from a primitive node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ....ltx2.errors import LTX2Error

MUTED, BYPASSED = 2, 4
INPUTS, OUTPUTS = -10, -20  # ids of the two ends of a subgraph, in its links
DEEPEST = 32


@dataclass(frozen=True)
class Constant:
    """A value that a primitive node, or a subgraph's node, feeds to a widget."""

    value: Any


@dataclass(frozen=True, eq=False)
class Level:
    """One graph: the workflow, or the subgraph that `instance`, a node of `outside`, shows."""

    graph: Mapping[str, Any]
    definitions: Mapping[str, Mapping[str, Any]]
    outside: Level | None = None
    instance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, workflow: Mapping[str, Any]) -> Level:
        subgraphs = (workflow.get("definitions") or {}).get("subgraphs") or []
        return cls(workflow, {each["id"]: each for each in subgraphs})

    @cached_property
    def nodes(self) -> dict[Any, Mapping[str, Any]]:
        return {node["id"]: node for node in self.graph["nodes"]}

    @cached_property
    def links(self) -> dict[int, list]:
        """[id, from node, its slot, to node, its slot] by id; files write links as lists or as objects."""
        ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        lists = ([link[end] for end in ends] if isinstance(link, dict) else link[:5] for link in self.graph["links"])
        return {link[0]: link for link in lists}

    @property
    def path(self) -> tuple[Any, ...]:
        return () if self.outside is None else (*self.outside.path, self.instance["id"])

    def id(self, node: Mapping[str, Any]) -> Any:
        """The id of a node of this graph on the one level."""
        return ":".join(str(each) for each in (*self.path, node["id"])) if self.path else node["id"]

    def inside(self, node: Mapping[str, Any]) -> Level | None:
        """The subgraph that a node of this graph shows, if it shows one and takes part."""
        if node["type"] not in self.definitions or node.get("mode") in (MUTED, BYPASSED):
            return None
        if len(self.path) >= DEEPEST:
            raise LTX2Error(f"subgraphs may be nested {DEEPEST} deep; these go on; does one contain itself?")
        return Level(self.definitions[node["type"]], self.definitions, self, node)

    def all(self) -> Iterator[tuple[Level, Mapping[str, Any]]]:
        """Every node that is no subgraph, with its graph."""
        for node in self.graph["nodes"]:
            inside = self.inside(node)
            if inside is None:
                yield self, node
            else:
                yield from inside.all()

    def source(self, link_id: int | None) -> tuple[Any, int] | Constant | None:
        """What a link brings: an output, as (id, slot) on the one level; a subgraph's own value; None for nothing."""
        if link_id is None:
            return None
        if link_id not in self.links:
            raise LTX2Error(f"every link must be listed in 'links'; link {link_id} is not; save the graph again")
        _, node_id, slot = self.links[link_id][:3]
        if node_id == INPUTS and self.outside is not None:
            return self._from_outside(slot)
        inside = self.inside(self.nodes[node_id]) if node_id in self.nodes else None
        if inside is None:
            return self.id(self.nodes.get(node_id, {"id": node_id})), slot
        last = [id for id, link in inside.links.items() if link[3:] == [OUTPUTS, slot]]
        return inside.source(last[0]) if last else None

    def _from_outside(self, slot: int) -> tuple[Any, int] | Constant | None:
        name = self.graph["inputs"][slot]["name"]
        given = next((each for each in self.instance.get("inputs") or [] if each["name"] == name), {})
        assert self.outside is not None
        if given.get("link") is not None:
            return self.outside.source(given["link"])
        return self.value(name)

    def value(self, name: str) -> Constant | None:
        """What the instance holds for an input of this subgraph; None where the inner node's own value stands."""
        named, saved = self.instance.get("widgets_values_named"), self.instance.get("widgets_values")
        for held in (named, saved):
            if isinstance(held, dict):
                return Constant(held[name]) if name in held else None
        place = next((i for i, each in enumerate(self.promoted) if each == name), None)
        return Constant(saved[place]) if place is not None and saved and place < len(saved) else None

    @cached_property
    def promoted(self) -> list[str | None]:
        """Whose value each place of the instance's `widgets_values` holds; None for widgets that are no inputs."""
        listed = self.instance.get("properties", {}).get("proxyWidgets") or []
        if not listed:
            return [each["name"] for each in self.instance.get("inputs") or [] if each.get("widget")]
        return [self._input_of(str(node), widget) for node, widget, *_ in listed]

    def _input_of(self, node_id: str, widget: str) -> str | None:
        """The input of this subgraph that feeds a widget: of an inner node, or (id -1) its own."""
        names = [each["name"] for each in self.graph["inputs"]]
        if node_id == "-1":
            return widget if widget in names else None
        for node in self.graph["nodes"]:
            for each in node.get("inputs") or []:
                link = self.links.get(each.get("link"))
                if str(node["id"]) == node_id and each["name"] == widget and link and link[1] == INPUTS:
                    return names[link[2]]
        return None


def flatten(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    """The workflow with its subgraphs' nodes in place of their instances; itself where it has none.

    Raises:
        LTX2Error: a link that is missing, or subgraphs that contain themselves.
    """
    top = Level.of(workflow)
    if not top.definitions:
        return workflow
    nodes: list[dict[str, Any]] = []
    links: list[list] = []
    for level, node in top.all():
        inputs = []
        for slot, each in enumerate(node.get("inputs") or []):
            source = level.source(each.get("link"))
            if isinstance(source, Constant):
                primitive = {"id": f"constant {len(links) + 1}", "type": "PrimitiveNode"}
                nodes.append({**primitive, "widgets_values": [source.value]})
                source = primitive["id"], 0
            if source is not None:
                links.append([len(links) + 1, *source, level.id(node), slot, each["type"]])
            inputs.append({**each, "link": None if source is None else len(links)})
        nodes.append({**node, "id": level.id(node), "inputs": inputs})
    return {**workflow, "nodes": nodes, "links": links, "definitions": {}}
