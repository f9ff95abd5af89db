"""The size of the clip, said once, and the empty latents that follow from it."""

from __future__ import annotations

from typing import Any

from ..ltx2 import latents
from ..ltx2.errors import LTX2Error
from ..ltx2.geometry import PIXELS_PER_LATENT, Canvas, check_frames, check_range, check_size
from . import sockets, widgets
from .host import current

io = current().io

_SCALES = {"1": 1, "1/2": 2}
_SIDES, _FRAMES = (64, 8192), (1, 2049)


class MakeCanvas(io.ComfyNode):
    """Size, length and frame rate of the final clip."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Canvas",
            display_name="LTX-2 Canvas",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                io.Int.Input(
                    "width",
                    default=768,
                    min=_SIDES[0],
                    max=_SIDES[1],
                    step=32,
                    tooltip="Pixels of the final clip; a multiple of 32, and of 64 for two stages.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=_SIDES[0],
                    max=_SIDES[1],
                    step=32,
                    tooltip="Pixels of the final clip; a multiple of 32, and of 64 for two stages.",
                ),
                io.Int.Input(
                    "frames",
                    default=121,
                    min=_FRAMES[0],
                    max=_FRAMES[1],
                    step=8,
                    tooltip="8n + 1: 1, 9, 17, ... 121, ...",
                ),
                widgets.frame_rate(),
            ],
            outputs=[sockets.Canvas.Output("canvas", display_name="canvas")],
        )

    @classmethod
    def validate_inputs(cls, width: Any = None, height: Any = None, frames: Any = None) -> Any:
        """The library's own words, which name the nearest legal values. Linked inputs arrive as None.

        Hosts check nothing of the inputs that are named here, so the ranges are checked as well.
        """
        try:
            for name, value, (least, most) in (
                ("width", width, _SIDES),
                ("height", height, _SIDES),
                ("frames", frames, _FRAMES),
            ):
                if value is not None:
                    check_range(name, value, least, most)
                    check_frames(value) if name == "frames" else check_size(name, value, PIXELS_PER_LATENT)
        except LTX2Error as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, width: int, height: int, frames: int, frame_rate: float) -> Any:
        return io.NodeOutput(Canvas(width, height, frames, float(frame_rate)))


class EmptyLatents(io.ComfyNode):
    """Latents to start from: video and sound of the canvas's length, at its size or at half of it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_EmptyLatents",
            display_name="LTX-2 Empty Latents",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                sockets.Canvas.Input("canvas", tooltip="From LTX-2 Canvas."),
                io.Combo.Input(
                    "scale",
                    options=list(_SCALES),
                    default="1/2",
                    tooltip="1/2 for the first of two stages (sizes divisible by 64), 1 for a single stage (by 32).",
                ),
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio"),
            ],
        )

    @classmethod
    def execute(cls, canvas: Any, scale: str) -> Any:
        sockets.require(canvas, Canvas, "canvas", "LTX-2 Canvas")
        return io.NodeOutput(*latents.empty(canvas, _SCALES[scale]))


NODES = [MakeCanvas, EmptyLatents]
