"""Checks an API graph before anything is computed and reports everything that is wrong with it at once.

Types, keys and messages of the errors are ComfyUI's, so that the same clients can read them. Stricter than ComfyUI:
unknown inputs, negative slots, values on sockets that take links only, steps, NaN, and the ranges of values that
arrive over a link from a node whose output is known beforehand. One bad output condemns the whole graph.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..graph.problems import GraphError, Problem, node_label
from ..graph.schemas import InputInfo, NodeInfo, is_link, node_infos, types_meet
from .order import cheap_first
from .schema import overridden
from .values import check, rule_problem

Prompt = dict[str, dict[str, Any]]
#: Buttons and players that frontends add to nodes which load files, and export as if they were inputs.
_SHOWN_BY_FRONTENDS = {"upload", "audioUI", "video-preview"}


@dataclass(frozen=True)
class Plan:
    """A graph that may run: its prompt with converted values, and its needed nodes in the order in which they run."""

    prompt: Prompt
    order: tuple[str, ...]
    outputs: tuple[str, ...]
    infos: Mapping[str, NodeInfo]


def validate(prompt: Any, classes: Mapping[str, type], infos: Mapping[str, NodeInfo] | None = None) -> Plan:
    """Check `prompt` against the node `classes` (by id).

    Raises:
        GraphError: with every problem of every node that an output needs.
    """
    return _Validation(prompt, classes, infos or node_infos(classes.values())).plan()


class _Validation:
    def __init__(self, prompt: Any, classes: Mapping[str, type], infos: Mapping[str, NodeInfo]):
        if not isinstance(prompt, dict) or not all(isinstance(node, dict) for node in prompt.values()):
            problem = Problem("no_prompt", "No prompt provided", "a graph is an object of nodes by id")
            raise GraphError(problem, {}, str(problem))
        self.prompt: Prompt = copy.deepcopy(prompt)
        self.classes = classes
        self.infos = infos
        self.problems: dict[str, list[Problem]] = {}
        self.unknown = {id: problem for id in self.prompt if (problem := self._class_problem(id))}

    def plan(self) -> Plan:
        known = [id for id in self.prompt if id not in self.unknown]
        outputs = [id for id in known if self._info(id).is_output_node]
        order = self._order(outputs)
        for node_id in order:
            self._check_node(node_id)
        if self.unknown or self.problems or not outputs:
            raise self._error(outputs)
        order = cheap_first(order, self._info, self._linked, self.infos)
        return Plan(self.prompt, tuple(order), tuple(outputs), self.infos)

    def _info(self, node_id: str) -> NodeInfo:
        return self.infos[self.prompt[node_id]["class_type"]]

    def _inputs(self, node_id: str) -> dict[str, Any]:
        return self.prompt[node_id].setdefault("inputs", {})

    def _report(self, node_id: str, problem: Problem) -> None:
        self.problems.setdefault(node_id, []).append(problem)

    def _class_problem(self, node_id: str) -> Problem | None:
        class_type = self.prompt[node_id].get("class_type")
        if class_type in self.infos:
            return None
        title = self.prompt[node_id].get("_meta", {}).get("title")
        extra = {"node_id": node_id, "class_type": class_type, "node_title": title or class_type}
        if class_type is None:
            message = (
                f"Node '{title or f'ID #{node_id}'}' has no class_type. "
                "The workflow may be corrupted or a custom node is missing."
            )
        else:
            message = f"Node '{title or class_type}' not found. The custom node may not be installed."
        near = difflib.get_close_matches(str(class_type), self.infos, n=3)
        cure = f"did you mean {', '.join(near)}?" if near else "remove it, or install what it belongs to"
        return Problem("missing_node_type", message, f"Node ID '#{node_id}'", extra, cure)

    # Order and links

    def _linked(self, node_id: str) -> list[str]:
        """Known nodes that `node_id` takes values from."""
        links = [value for value in self._inputs(node_id).values() if is_link(value)]
        return [
            link[0] for link in links if _is_well_formed(link) and link[0] in self.prompt.keys() - self.unknown.keys()
        ]

    def _order(self, outputs: list[str]) -> list[str]:
        """What the outputs need, sources first. Iterative: a graph may be deeper than Python's stack."""
        order: list[str] = []
        done: set[str] = set()
        for output in outputs:
            path: list[str] = []
            stack = [(output, iter(self._linked(output)))] if output not in done else []
            path += [output] if stack else []
            while stack:
                node_id, sources = stack[-1]
                source = next(sources, None)
                if source is None:
                    stack.pop()
                    path.pop()
                    done.add(node_id)
                    order.append(node_id)
                elif source in path:
                    self._report_cycle([*path[path.index(source) :], source])
                elif source not in done:
                    stack.append((source, iter(self._linked(source))))
                    path.append(source)
        return order

    def _report_cycle(self, path: list[str]) -> None:
        cycle = list(dict.fromkeys(path))
        details = " -> ".join(f"{node_id} ({self.prompt[node_id]['class_type']})" for node_id in path)
        for node_id in cycle:
            if not any(each.type == "dependency_cycle" for each in self.problems.get(node_id, [])):
                extra = {"node_id": node_id, "cycle_nodes": cycle}
                cure = "remove one of these links"
                self._report(node_id, Problem("dependency_cycle", "Dependency cycle detected", details, extra, cure))

    def _link_problem(self, info: InputInfo, link: list) -> Problem | None:
        extra: dict[str, Any] = {"input_name": info.name, "input_config": info.as_config}
        if not _is_well_formed(link):
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return Problem("bad_linked_input", message, info.name, extra | {"received_value": link})
        source, slot = link
        if source in self.unknown:
            return None  # said once, at that node
        if source not in self.prompt:
            return _broken_link(info, "KeyError", f"node '{source}' is not in the graph")
        given = self._info(source)
        if not 0 <= slot < len(given.outputs):
            count = len(given.outputs)
            return _broken_link(info, "IndexError", f"node '{source}' has {count} outputs, and no number {slot}")
        if not types_meet(given.outputs[slot], info.type):
            details = f"{info.name}, received_type({given.outputs[slot]}) mismatch input_type({info.type})"
            extra |= {"received_type": given.outputs[slot], "linked_node": link}
            cure = f"link an output of type {info.type}"
            return Problem("return_type_mismatch", "Return type mismatch between linked nodes", details, extra, cure)
        return self._constant_problem(info, source)

    def _constant_problem(self, info: InputInfo, source: str) -> Problem | None:
        """What is wrong with a value that a constant node will send over a link."""
        if not getattr(self.classes[self.prompt[source]["class_type"]], "IS_CONSTANT", False):
            return None
        given = next(iter(self._info(source).inputs.values()))
        value, wrong = check(given, self._inputs(source).get(given.name))
        return None if wrong else rule_problem(info, value)  # a wrong value is reported at the constant

    # Nodes

    def _check_node(self, node_id: str) -> None:
        info, inputs = self._info(node_id), self._inputs(node_id)
        own = overridden(self.classes[info.class_type], "validate_inputs")
        parameters = inspect.signature(own).parameters.values() if own else ()
        names = {each.name for each in parameters}
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
        wrong: set[str] = set()
        for each in info.inputs.values():
            problem = self._input_problem(each, inputs, with_rules=each.name not in names and not takes_all)
            if problem and not (problem.type == "return_type_mismatch" and "input_types" in names):
                wrong.add(each.name)
                self._report(node_id, problem)
        for name in [name for name in inputs if info.upload_input and name in _SHOWN_BY_FRONTENDS]:
            del inputs[name]
        for name in inputs.keys() - info.inputs.keys():
            self._report(node_id, _unknown_input(name, info))
        if own and not wrong & (names | (inputs.keys() if takes_all else set())):
            self._run_own_check(
                node_id, own, inputs.keys() if takes_all else names & inputs.keys(), "input_types" in names
            )

    def _input_problem(self, info: InputInfo, inputs: dict[str, Any], *, with_rules: bool) -> Problem | None:
        if info.name not in inputs:
            if not info.is_required:
                return None
            cure = f"link an output of type {info.type}" if info.widget_type is None else "give it a value"
            extra = {"input_name": info.name}
            return Problem("required_input_missing", "Required input is missing", info.name, extra, cure)
        if is_link(inputs[info.name]):
            return self._link_problem(info, inputs[info.name])
        inputs[info.name], problem = check(info, inputs[info.name], with_rules=with_rules)
        return problem

    def _run_own_check(self, node_id: str, own: Any, names: Any, wants_types: bool) -> None:
        """Call the node's validate_inputs; linked inputs are None, as their values are not known yet."""
        info, inputs = self._info(node_id), self._inputs(node_id)
        given = {name: None if is_link(inputs[name]) else inputs[name] for name in info.inputs if name in names}
        extra = {"input_types": self._linked_types(node_id)} if wants_types else {}
        try:
            answer = own(**given, **extra)
        except Exception as error:  # noqa: BLE001 - a node's bug is reported with the graph's other problems
            kind = {"exception_type": type(error).__name__, "traceback": []}
            message = "Exception when validating node"
            self._report(node_id, Problem("exception_during_validation", message, str(error), kind))
            return
        if answer is True:
            return
        message = "Custom validation failed for node"
        # ComfyUI repeats the answer for every input that the check takes; here it is said once, where it belongs.
        named = [name for name in given if re.match(rf"{re.escape(name)}\b", str(answer))]
        names = list(given) if answer is False else named[:1]
        for name in names:
            details = name if answer is False else f"{name} - {answer}"
            self._report(node_id, Problem("custom_validation_failed", message, details, {"input_name": name}))
        if not names:
            self._report(node_id, Problem("custom_validation_failed", message, "" if answer is False else str(answer)))

    def _linked_types(self, node_id: str) -> dict[str, str]:
        found = {}
        for name, link in self._inputs(node_id).items():
            if is_link(link) and _is_well_formed(link) and link[0] in self._linked(node_id):
                outputs = self._info(link[0]).outputs
                if 0 <= link[1] < len(outputs):
                    found[name] = outputs[link[1]]
        return found

    # The report

    def _error(self, outputs: list[str]) -> GraphError:
        needed_by = {output: self._needed_by(output) for output in outputs}
        unknown = list(self.unknown)
        # ComfyUI stops at the first unknown class and names it at the top; others are listed with the nodes.
        found = {**self.problems, **{id: [self.unknown[id]] for id in unknown[1:]}}
        node_errors = {
            id: {
                "errors": [problem.as_dict() for problem in problems],
                "dependent_outputs": [output for output, needed in needed_by.items() if id in needed],
                "class_type": self.prompt[id].get("class_type"),
            }
            for id, problems in found.items()
        }
        if unknown:
            top = self.unknown[unknown[0]]
        elif not outputs:
            top = Problem("prompt_no_outputs", "Prompt has no outputs", "", cure="add a node that saves something")
        else:
            own = [f"{each.message}: {each.details}" for output in outputs for each in self.problems.get(output, [])]
            top = Problem("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(own))
        lines = [] if self.problems and not unknown and outputs else [str(top)]
        for id, problems in found.items():
            label = node_label(self.prompt, id, info.display_name if (info := self._known_info(id)) else None)
            lines += dict.fromkeys(f"{label}: {problem}" for problem in problems)
        return GraphError(top, node_errors, "\n".join(lines))

    def _known_info(self, node_id: str) -> NodeInfo | None:
        return None if node_id in self.unknown else self._info(node_id)

    def _needed_by(self, output: str) -> set[str]:
        needed, waiting = set(), [output]
        while waiting:
            node_id = waiting.pop()
            if node_id not in needed:
                needed.add(node_id)
                waiting += self._linked(node_id)
        return needed


def _is_well_formed(link: list) -> bool:
    return len(link) == 2 and isinstance(link[0], str) and type(link[1]) is int


def _broken_link(info: InputInfo, exception: str, text: str) -> Problem:
    extra = {"exception_type": exception, "traceback": []}
    return Problem("exception_during_validation", "Exception when validating node", f"{info.name}: {text}", extra)


def _unknown_input(name: str, info: NodeInfo) -> Problem:
    near = difflib.get_close_matches(name, info.inputs, n=1)
    cure = f"did you mean '{near[0]}'?" if near else f"the inputs are {', '.join(info.inputs) or 'none'}"
    return Problem("unknown_input", "The node has no such input", name, {"input_name": name}, cure)
