"""What the frontend shows of a node, in the form of its `nodeDefs.json`, and how two languages differ in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def node_texts(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a node in `nodeDefs.json`, from its entry of /object_info. Outputs are counted from "0"."""
    specs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    texts = {"display_name": info["display_name"], "description": info["description"], "inputs": {}, "outputs": {}}
    for name, (_, options) in specs.items():
        texts["inputs"][name] = _text(options.get("display_name") or name, options.get("tooltip"))
    for index, pair in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True)):
        texts["outputs"][str(index)] = _text(*pair)
    return texts


def _text(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def flat(texts: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text with the keys that lead to it."""
    for key, value in texts.items():
        if isinstance(value, str):
            yield (*path, key), value
        else:
            yield from flat(value, (*path, key))


def differences(english: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Texts that one of the two has and the other has not."""
    needed, given = ({path for path, _ in flat(texts)} for texts in (english, other))
    return [
        *(f"missing: {'.'.join(path)}" for path in sorted(needed - given)),
        *(f"of no node: {'.'.join(path)}" for path in sorted(given - needed)),
    ]
