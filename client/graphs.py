"""A graph before it runs: read, changed input by input, and the files that it reads from here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ltx2.errors import LTX2Error
from ..nodes.host.graph.document import Graph, read_graph
from ..nodes.host.graph.schemas import NodeInfo
from ..nodes.host.graph.ui import is_ui_workflow, to_api
from .folders import is_within


def changed(
    source: Path | str | Mapping[str, Any], overrides: Mapping[str, Any], infos: Mapping[str, NodeInfo]
) -> Graph:
    """A graph, read from a file where it is none, with {"title.input": value} set.

    Raises:
        LTX2Error: no graph, or as `with_overrides`.
    """
    if isinstance(source, Mapping):
        is_ui = is_ui_workflow(source)
        graph = Graph(to_api(source, infos), dict(source)) if is_ui else Graph(dict(source), None)
    else:
        graph = read_graph(Path(source), infos)
    return with_overrides(graph, overrides, infos)


def with_overrides(graph: Graph, overrides: Mapping[str, Any], infos: Mapping[str, NodeInfo]) -> Graph:
    """The graph with {"title.input": value} set.

    Raises:
        LTX2Error: a title or input that it does not have (with the nearest that it has), a title of several nodes.
    """
    for target, value in overrides.items():
        node, dot, name = target.rpartition(".")
        if not dot:
            raise LTX2Error(f"an override is named TITLE.INPUT; got '{target}'; write for example 'Canvas.width'")
        node_id = graph.find(node, infos)
        class_type = graph.prompt[node_id].get("class_type")
        if class_type not in infos:
            raise LTX2Error(f"node classes must be installed where the graph runs; '{class_type}' is not; install it")
        graph = graph.with_value(node_id, name, value, infos)
    return graph


def uploads(graph: Graph, input: Path, infos: Mapping[str, NodeInfo]) -> list[tuple[str, str, Path]]:
    """The files in `input` that the graph's upload widgets name, as (node id, name of the input, file)."""
    found = []
    for node_id, node in graph.prompt.items():
        info = infos.get(node.get("class_type", ""))
        name = info.upload_input if info else None
        value = node["inputs"].get(name) if name else None
        if name and isinstance(value, str) and value and is_within(input, value) and (input / value).is_file():
            found.append((node_id, name, input / value))
    return found
