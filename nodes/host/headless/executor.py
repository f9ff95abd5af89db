"""Runs API graphs: checks everything, then computes what the outputs need, and keeps results for the next run."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ....ltx2.errors import LTX2Error
from .. import use
from ..graph.problems import GraphError, node_label, node_title
from ..graph.schemas import NodeInfo, is_link, node_infos
from ..out_of_memory import clear_frames
from .cancellation import Interrupted
from .host import HeadlessHost
from .schema import ComfyNode, Hidden, NodeOutput, locked_clone, overridden
from .validation import Plan, validate
from .values import rule_problem


class NodeError(LTX2Error):
    """A node that failed. `__cause__` is what it raised."""

    def __init__(self, text: str, node_id: str):
        super().__init__(text)
        self.node_id = node_id


NodeError.__module__ = "ltx2"


@dataclass(frozen=True, eq=False)
class Kept:
    """What a node gave: its outputs and what it tells the UI."""

    values: tuple
    ui: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Result:
    """One run: what the output nodes tell the UI, by node id; every needed node's outputs; and which nodes ran."""

    ui: dict[str, dict[str, Any]]
    values: dict[str, tuple]
    executed: tuple[str, ...]
    prompt: dict[str, dict[str, Any]]


class Executor:
    """Runs graphs of these node classes on a host. Results of unchanged nodes are reused from run to run.

    Nodes ask for the host of the process: whatever is asked of an executor makes it this one.
    """

    def __init__(self, host: HeadlessHost, classes: Iterable[type[ComfyNode]]):
        self._host = host
        self.classes = {cls.GET_SCHEMA().node_id: cls for cls in classes}
        self._kept: dict[str, Kept] = {}

    def infos(self) -> dict[str, NodeInfo]:
        """The node classes as conversion and validation know them; read afresh, as combo boxes list files."""
        use(self._host)
        return node_infos(self.classes.values())

    def validate(self, prompt: Mapping[str, Any]) -> Plan:
        """Check a graph without running it.

        Raises:
            GraphError: with everything that is wrong.
        """
        return validate(prompt, self.classes, self.infos())

    def run(self, prompt: Mapping[str, Any], extra_pnginfo: dict[str, Any] | None = None) -> Result:
        """Validate and run a graph. `prompt` is not changed.

        Args:
            extra_pnginfo: what nodes may save besides the prompt: {"workflow": ...}.

        Raises:
            GraphError: the graph is wrong; nothing ran.
            NodeError: a node failed; what ran before it is kept.
            Interrupted: the user cancelled.
        """
        plan = self.validate(prompt)
        keys = self._keys(plan)
        # Dropped before anything runs: what the graph no longer needs makes room for what it does.
        self._kept = {key: kept for key, kept in self._kept.items() if key in keys.values()}
        waiting = [node_id for node_id in plan.order if keys[node_id] not in self._kept]
        results = {node_id: self._kept[keys[node_id]] for node_id in plan.order if node_id not in waiting}
        executed = []
        progress = self._host.progress_lines
        titles = {id: node_title(plan.prompt, id, self._info(plan, id).display_name) for id in plan.order}
        for node_id in results if progress.observer else ():
            progress.observer.cached(node_id, titles[node_id])
        with torch.inference_mode():
            for node_id in waiting:
                if keys[node_id] not in self._kept:  # two equal nodes run once
                    executed.append(node_id)
                    self._host.check_cancelled()
                    with progress.node(node_id, titles[node_id], len(executed), len(waiting)):
                        self._kept[keys[node_id]] = self._run_node(plan, node_id, results, extra_pnginfo)
                results[node_id] = self._kept[keys[node_id]]
                if progress.observer:
                    progress.observer.executed(node_id, titles[node_id], results[node_id].ui)
        ui = {node_id: results[node_id].ui for node_id in plan.outputs}
        return Result(ui, {id: kept.values for id, kept in results.items()}, tuple(executed), plan.prompt)

    @staticmethod
    def _info(plan: Plan, node_id: str) -> NodeInfo:
        return plan.infos[plan.prompt[node_id]["class_type"]]

    def _class(self, plan: Plan, node_id: str) -> type[ComfyNode]:
        return self.classes[plan.prompt[node_id]["class_type"]]

    def _keys(self, plan: Plan) -> dict[str, str]:
        """What each node's result depends on: its class, its inputs, its fingerprint, and the keys of its sources."""
        keys: dict[str, str] = {}
        for node_id in plan.order:
            node, cls = plan.prompt[node_id], self._class(plan, node_id)
            inputs = {
                name: {"from": [keys[value[0]], value[1]]} if is_link(value) else {"value": repr(value)}
                for name, value in node.get("inputs", {}).items()
            }
            schema = cls.GET_SCHEMA()
            own = node_id if schema.not_idempotent or Hidden.unique_id in schema.hidden else ""
            parts = [node["class_type"], sorted(inputs.items()), self._fingerprint(plan, node_id), own]
            keys[node_id] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return keys

    def _fingerprint(self, plan: Plan, node_id: str) -> str:
        method = overridden(self._class(plan, node_id), "fingerprint_inputs")
        if method is None:
            return ""
        inputs = plan.prompt[node_id].get("inputs", {})
        try:
            value = method(**{name: None if is_link(value) else value for name, value in inputs.items()})
        except Exception:  # noqa: BLE001 - as in ComfyUI: what cannot be told unchanged runs, and then says what is wrong
            value = math.nan
        return uuid.uuid4().hex if isinstance(value, float) and math.isnan(value) else repr(value)

    def _run_node(self, plan: Plan, node_id: str, results: Mapping[str, Kept], extra_pnginfo: Any) -> Kept:
        cls, info = self._class(plan, node_id), self._info(plan, node_id)
        inputs = {
            name: results[value[0]].values[value[1]] if is_link(value) else value
            for name, value in plan.prompt[node_id].get("inputs", {}).items()
        }
        label = node_label(plan.prompt, node_id, info.display_name)
        self._check_linked(plan, node_id, inputs, label)
        hidden = {"prompt": plan.prompt, "extra_pnginfo": extra_pnginfo, "unique_id": node_id}
        asked = {each.name for each in cls.GET_SCHEMA().hidden}
        clone = locked_clone(cls, {name: value for name, value in hidden.items() if name in asked})
        try:
            return _kept(clone.execute(**inputs), info)
        except Interrupted as error:
            clear_frames(error)
            raise
        except LTX2Error as error:
            clear_frames(error)  # of a graph that went wrong; for errors of ours the variables are worth keeping
            raise NodeError(f"{label}: {error}", node_id) from error
        except Exception as error:
            raise NodeError(f"{label} failed: {type(error).__name__}: {error}", node_id) from error

    def _check_linked(self, plan: Plan, node_id: str, inputs: Mapping[str, Any], label: str) -> None:
        """Ranges hold for values that arrive over links as well; before the run most of them were not known."""
        node = plan.prompt[node_id]
        linked = [name for name, value in node.get("inputs", {}).items() if is_link(value)]
        found = [(name, rule_problem(self._info(plan, node_id).inputs[name], inputs[name])) for name in linked]
        problems = [problem for _, problem in found if problem]
        if problems:
            errors = {"errors": [each.as_dict() for each in problems], "dependent_outputs": list(plan.outputs)}
            report = {node_id: errors | {"class_type": node["class_type"]}}
            raise GraphError(problems[0], report, "\n".join(f"{label}: {each}" for each in problems))


def _kept(output: Any, info: NodeInfo) -> Kept:
    """What `execute` returned, in one form."""
    if isinstance(output, tuple):
        output = NodeOutput(*output)
    output = output if output is not None else NodeOutput()
    if not isinstance(output, NodeOutput):
        raise TypeError(f"execute must return a NodeOutput; got {type(output).__name__}")
    if output.expand is not None or output.block_execution is not None:
        raise TypeError("expansion and blocked outputs are not supported by the headless host")
    # A node that only shows something may return no values; its outputs are then None.
    values = output.args or (None,) * len(info.outputs)
    if len(values) != len(info.outputs):
        raise TypeError(f"execute must return {len(info.outputs)} values; got {len(values)}")
    ui = output.ui.as_dict() if hasattr(output.ui, "as_dict") else output.ui or {}
    return Kept(values, ui)
