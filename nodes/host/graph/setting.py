"""Sets widgets of UI workflows where people see them: on the node, or on the subgraph's node that holds its value."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from typing import Any

from .schemas import NodeInfo
from .subgraphs import INPUTS, Level
from .ui import widget_slots, widget_values


def with_widget(
    workflow: Mapping[str, Any], prompt: Mapping[str, Any], node_id: str, info: NodeInfo, name: str, value: Any
) -> dict[str, Any]:
    """A copy of a UI workflow in which one widget holds `value` and nothing is linked to it.

    Args:
        prompt: the workflow's API form.
        node_id: "3", or "14:3" for node 3 of the subgraph that node 14 shows; `info` is of its class.
    """
    workflow = copy.deepcopy(dict(workflow))
    level, node = next((level, node) for level, node in Level.of(workflow).all() if str(level.id(node)) == node_id)
    inside, inner = None, name
    while (link := _link(level, node, inner)) and link[1] == INPUTS:
        assert level.outside is not None
        inside, inner = level, level.graph["inputs"][link[2]]["name"]
        level, node = level.outside, level.instance
    level, node = _own(workflow, level.path, node["id"])
    if inside is None:
        _hold(node, info, name, value)
    else:
        _hold_promoted(level.inside(node) or inside, node, inner, value, prompt)
    if link:
        _cut(level.graph, link[0])
    return workflow


def _link(level: Level, node: Mapping[str, Any], name: str) -> list | None:
    """The link into an input."""
    given = (each.get("link") for each in node.get("inputs") or [] if each["name"] == name)
    return level.links.get(next(given, None) or 0)


def _own(workflow: dict[str, Any], path: tuple[Any, ...], node_id: Any) -> tuple[Level, Any]:
    """The graph at `path`, made to be shown there alone, and the node in it: others with its subgraph stay as they are.

    `workflow` is changed.
    """
    level = Level.of(workflow)
    for id in path:
        instance: Any = level.nodes[id]
        graphs = [workflow, *level.definitions.values()]
        if sum(node["type"] == instance["type"] for graph in graphs for node in graph["nodes"]) > 1:
            own = {**copy.deepcopy(level.definitions[instance["type"]]), "id": str(uuid.uuid4())}
            workflow["definitions"]["subgraphs"].append(own)
            instance["type"] = own["id"]
            level = Level(level.graph, {**level.definitions, own["id"]: own}, level.outside, level.instance)
        inside = level.inside(instance)
        assert inside is not None, "its nodes are in the prompt"
        level = inside
    return level, level.nodes[node_id]


def _hold(node: dict[str, Any], info: NodeInfo, name: str, value: Any) -> None:
    values = widget_values(node, info)
    assert isinstance(values, dict), "the workflow was converted before"
    if isinstance(node.get("widgets_values"), dict):
        node["widgets_values"][name] = value
    else:
        saved = node.get("widgets_values") or []
        slots = widget_slots(info)
        fresh = [values[each.name] if each is not None else "fixed" for each in slots]
        node["widgets_values"] = saved + fresh[len(saved) :]
        index = next((i for i, each in enumerate(slots) if each is not None and each.name == name), None)
        if index is not None:  # a forced input has no widget to show the value
            node["widgets_values"][index] = value
    if isinstance(node.get("widgets_values_named"), dict):
        node["widgets_values_named"][name] = value


def _hold_promoted(level: Level, node: dict[str, Any], name: str, value: Any, prompt: Mapping[str, Any]) -> None:
    """Let the node of a subgraph hold a value for one of its inputs."""
    if isinstance(node.get("widgets_values_named"), dict):
        node["widgets_values_named"][name] = value
    if isinstance(node.get("widgets_values"), dict):
        node["widgets_values"][name] = value
        return
    saved = list(node.get("widgets_values") or [])
    saved += [None if each is None else _current(level, each, prompt) for each in level.promoted[len(saved) :]]
    saved[level.promoted.index(name)] = value
    node["widgets_values"] = saved


def _current(level: Level, name: str, prompt: Mapping[str, Any]) -> Any:
    """The value of the first widget inside that an input of a subgraph feeds."""
    slot = next(i for i, each in enumerate(level.graph["inputs"]) if each["name"] == name)
    link = next(link for link in level.links.values() if link[1:3] == [INPUTS, slot])
    target = level.nodes[link[3]]
    inner = next(each["name"] for each in target["inputs"] if each.get("link") == link[0])
    inside = level.inside(target)
    if inside is not None:
        return _current(inside, inner, prompt)
    return prompt[str(level.id(target))]["inputs"][inner]


def _cut(graph: Any, link_id: int) -> None:
    graph["links"] = [link for link in graph["links"] if _id(link) != link_id]
    for node in graph["nodes"]:
        for each in node.get("inputs") or []:
            if each.get("link") == link_id:
                each["link"] = None
        for output in node.get("outputs") or []:
            output["links"] = [each for each in output.get("links") or [] if each != link_id]


def _id(link: Any) -> int:
    return link["id"] if isinstance(link, dict) else link[0]
