"""Inputs and outputs of a node as Markdown, from what a server says of it, and their place in a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEGIN, END = "<!-- from the schema: python -m tools.docs -->", "<!-- end -->"
LONGEST_DEFAULT = 60


def with_tables(page: str, info: Mapping[str, Any]) -> str:
    """`page` with the node's tables between its markers, or at its end where it has none."""
    own, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{own.rstrip()}\n\n{BEGIN}\n{tables(info)}\n\n{END}\n{after.strip()}".rstrip() + "\n"


def tables(info: Mapping[str, Any]) -> str:
    """The sections "Inputs" and "Outputs" of an entry of /object_info; a section without rows is left out."""
    inputs = [
        _input(name, *info["input"][side][name], is_optional=side == "optional")
        for side in ("required", "optional")
        for name in info["input_order"].get(side, ())
    ]
    outputs = [
        [f"**{name}**", f"`{kind}`", tooltip or ""]
        for name, kind, tooltip in zip(info["output_name"], info["output"], info["output_tooltips"], strict=True)
    ]
    return "\n".join(
        [
            *_section("Inputs", ["Input", "Type", "Default", "Range", "What it is"], inputs),
            *_section("Outputs", ["Output", "Type", "What it is"], outputs),
        ]
    )


def _section(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    # A column that says nothing is left out.
    kept = [index for index in range(len(head)) if any(row[index] for row in rows)]
    lines = [[row[index] for index in kept] for row in (head, ["---"] * len(head), *rows)]
    return ["", f"## {title}", "", *(f"| {' | '.join(map(_cell, line))} |" for line in lines)]


def _input(name: str, kind: str, options: Mapping[str, Any], *, is_optional: bool) -> list[str]:
    marks = [mark for mark, holds in (("optional", is_optional), ("advanced", options.get("advanced"))) if holds]
    shown = f"**{name}**" + (f" ({', '.join(marks)})" if marks else "")
    return [shown, f"`{kind}`", _default(options), _range(options), options.get("tooltip", "")]


def _default(options: Mapping[str, Any]) -> str:
    value = options.get("default")
    if isinstance(value, bool):
        return "on" if value else "off"
    text = "" if value is None else str(value)
    text = text if len(text) <= LONGEST_DEFAULT else text[:LONGEST_DEFAULT].rsplit(" ", 1)[0] + " ..."
    return f"`{text}`" if text else ""


def _range(options: Mapping[str, Any]) -> str:
    if options.get("options"):
        return ", ".join(f"`{option}`" for option in options["options"])
    if options.get("min") is None or options.get("max") is None:
        return ""
    step = options.get("step")
    steps = f", step {step:g}" if step not in (None, 1) else ""
    return f"{options['min']:.16g} to {options['max']:.16g}{steps}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
