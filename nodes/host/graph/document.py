"""A graph as the user has it: read from a file, changed input by input, written as its API twin."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....ltx2.errors import LTX2Error
from .problems import node_label, node_title
from .schemas import InputInfo, NodeInfo, is_link
from .setting import with_widget
from .ui import is_ui_workflow, to_api


@dataclass(frozen=True)
class Graph:
    """The API form of a graph and, where there is one, the UI workflow with the same values."""

    prompt: dict[str, dict[str, Any]]
    workflow: dict[str, Any] | None

    def find(self, node: str, infos: Mapping[str, NodeInfo]) -> str:
        """The id of the node with this id or title.

        Raises:
            LTX2Error: there is none, or several have the title.
        """
        if node in self.prompt:
            return node
        titles = {id: _title(self.prompt, id, infos) for id in self.prompt}
        for same in (str.__eq__, lambda a, b: a.casefold() == b.casefold()):
            found = [id for id, title in titles.items() if same(title, node)]
            if len(found) > 1:
                raise LTX2Error(
                    f"a node's title must be unique to name it; '{node}' is nodes {', '.join(found)}; use an id"
                )
            if found:
                return found[0]
        near = difflib.get_close_matches(node, titles.values(), n=3, cutoff=0.4)
        known = near or sorted(set(titles.values()))
        raise LTX2Error(f"the graph has no node '{node}'; did you mean {_listed(known)}?")

    def with_value(self, node: str, name: str, value: Any, infos: Mapping[str, NodeInfo]) -> Graph:
        """The graph with one widget set, in both forms; a link to it is cut.

        Args:
            node: id or title.
            name: of the input.
            value: a JSON value, or a Text as typed on a command line.

        Raises:
            LTX2Error: no such node or input, or an input that takes links only.
        """
        node_id = self.find(node, infos)
        info = infos[self.prompt[node_id]["class_type"]]
        label = node_label(self.prompt, node_id, info.display_name)
        if name not in info.inputs:
            near = difflib.get_close_matches(name, info.inputs, n=3, cutoff=0.4)
            raise LTX2Error(f"{label} has no input '{name}'; its inputs are {_listed(near or list(info.inputs))}")
        each = info.inputs[name]
        if each.widget_type is None:
            raise LTX2Error(f"{label}: input '{name}' takes {each.type} from another node and cannot be set to a value")
        value = parse(value, each) if isinstance(value, Text) else value
        prompt = copy.deepcopy(self.prompt)
        prompt[node_id]["inputs"][name] = {"__value__": value} if is_link(value) else value
        if self.workflow is None:
            return Graph(prompt, None)
        workflow = with_widget(self.workflow, self.prompt, node_id, info, name, value)
        # One input of a subgraph may feed several widgets: then all of them changed.
        return Graph(to_api(workflow, infos) if ":" in node_id else prompt, workflow)


class Text(str):
    """A value as typed: JSON where the input is no text, else the text itself."""


def read_graph(path: Path, infos: Mapping[str, NodeInfo]) -> Graph:
    """Read a UI or API graph.

    Raises:
        LTX2Error: no such file, no JSON, no graph, or node classes that are unknown.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LTX2Error(f"a graph must be a JSON file; {path} is not: {error}") from error
    except OSError as error:
        raise LTX2Error(f"a graph must be a readable file; {path} is not: {error.strerror}") from error
    if is_ui_workflow(document):
        return Graph(to_api(document, infos), document)
    is_api = isinstance(document, dict) and document and all(isinstance(node, dict) for node in document.values())
    if not is_api or not any("class_type" in node for node in document.values()):
        raise LTX2Error(f"a graph must be a workflow as ComfyUI saves or exports it (API); {path} is something else")
    return Graph(document, _workflow_of(path, document, infos))


def _workflow_of(path: Path, prompt: dict[str, Any], infos: Mapping[str, NodeInfo]) -> dict[str, Any] | None:
    """The UI workflow whose twin a file in a folder `api` is, if it lies beside that folder and still says the same."""
    source = path.parent.parent / path.name
    if path.parent.name != "api" or not source.is_file():
        return None
    workflow = json.loads(source.read_text(encoding="utf-8"))
    return workflow if is_ui_workflow(workflow) and to_api(workflow, infos) == prompt else None


def api_text(prompt: Mapping[str, Any]) -> str:
    """The text of an API file: stable, one value a line."""
    return json.dumps(prompt, indent=2, ensure_ascii=True) + "\n"


def parse(text: str, info: InputInfo) -> Any:
    """A value typed on a command line for `info`: texts and options as they stand (or in JSON's quotes), else JSON."""
    options = info.config.get("options") or []
    if info.widget_type == "COMBO" and text in options:
        return str(text)
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return str(text)
    is_text = info.widget_type == "STRING" or (info.widget_type == "COMBO" and value not in options)
    return str(text) if is_text and not isinstance(value, str) else value


def _title(prompt: Mapping[str, Any], node_id: str, infos: Mapping[str, NodeInfo]) -> str:
    info = infos.get(prompt[node_id].get("class_type", ""))
    return node_title(prompt, node_id, info.display_name if info else None)


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
