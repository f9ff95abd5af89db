"""What a ComfyUI server says is wrong with a graph, in words: refused before it ran, or stopped while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ltx2.errors import LTX2Error
from ..nodes.host.graph.problems import Problem, node_label
from .connection import Refused


class RunError(LTX2Error):
    """A graph that began and did not reach its end; `node_id` is the node where it stopped, if the server told."""

    def __init__(self, text: str, node_id: str | None):
        super().__init__(text)
        self.node_id = node_id


def refusal(error: Refused, prompt: Mapping[str, Any]) -> str:
    """All that a refused graph breaks, a line each."""
    if not isinstance(error.answer, dict) or "error" not in error.answer:
        return str(error)
    lines = node_problems(error.answer.get("node_errors") or {}, prompt)
    if not lines:
        problem = error.answer["error"]
        lines = [f"the server refused the graph: {_problem(problem)}" if isinstance(problem, dict) else str(problem)]
    return "\n".join(lines)


def node_problems(node_errors: Mapping[str, Any], prompt: Mapping[str, Any]) -> list[str]:
    """`Canvas (node 5, LTX2_Canvas): input 'frames': ...` for each error of each node."""
    lines = []
    for node_id, report in node_errors.items():
        label, custom = _label(prompt, node_id), {}
        for error in report.get("errors", ()):
            if error.get("type") == "custom_validation_failed":
                # ComfyUI repeats what a node's own check says for every input that the check looks at.
                name = (error.get("extra_info") or {}).get("input_name")
                custom.setdefault(str(error.get("details")).removeprefix(f"{name} - "), []).append(f"'{name}'")
            else:
                lines.append(f"{label}: {_problem(error)}")
        for text, names in custom.items():
            lines.append(f"{label}: input{'s' if len(names) > 1 else ''} {', '.join(names)}: {text}")
    return lines


def _problem(error: Mapping[str, Any]) -> Problem:
    texts = [str(error.get(key) or "") for key in ("type", "message", "details")]
    return Problem(*texts, extra_info=error.get("extra_info") or {})


def _label(prompt: Mapping[str, Any], node_id: str | None) -> str:
    return node_label(prompt, node_id) if node_id is not None and node_id in prompt else f"node {node_id}"


def require_success(entry: Mapping[str, Any]) -> None:
    status = entry.get("status") or {}
    if status.get("status_str") == "success":
        return
    messages = dict(status.get("messages") or ())
    prompt = entry["prompt"][2]
    if stopped := messages.get("execution_interrupted"):
        node_id = stopped.get("node_id")
        raise RunError(f"the graph was cancelled in {_label(prompt, node_id)}; queue it again to run it", node_id)
    failed = messages.get("execution_error")
    if failed is None:
        raise RunError("the graph failed and the server does not say why; its log does", None)
    kind, text = failed.get("exception_type", ""), str(failed.get("exception_message", "")).strip()
    text = text if kind.startswith("ltx2.") else f"{kind}: {text}"
    raise RunError(f"{_label(prompt, failed.get('node_id'))}: {text}", failed.get("node_id"))
