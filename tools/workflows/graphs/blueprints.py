"""Graphs that are offered as one node."""

from __future__ import annotations

from collections.abc import Mapping

from ..sheet import Node, Output, Sheet
from . import pieces

ABOUT = (
    "A video with sound from a prompt, in two distilled stages: eight steps at half size, then three at full size. "
    "Width and height in steps of 64, frames 8n + 1."
)


def two_stages(sheet: Sheet) -> tuple[str, Mapping[str, tuple[Node, str]], Mapping[str, Output]]:
    """What it does, the inputs that people change, by the names that they see, and what comes out."""
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    prompt, canvas = pieces.prompt(sheet, loader), pieces.canvas(sheet)
    stages = pieces.two_distilled_stages(sheet, loader, larger, loader, prompt, canvas, saves=False)
    sheet.lay_out([("1 Models", [[loader, larger]]), ("2 Prompt and Canvas", [[prompt, canvas]]), *stages], "")
    titled = {node.title: node for node in sheet.nodes}
    inputs = {
        "text": (prompt, "text"),
        **{name: (canvas, name) for name in ("width", "height", "frames", "frame_rate")},
        "seed": (titled["Stage 1 Sample"], "seed"),
        "checkpoint": (loader, "checkpoint"),
        "text_encoder": (loader, "text_encoder"),
        "upsampler": (larger, "file"),
    }
    return ABOUT, inputs, {"video": titled["Decode Video"]["video"]}
