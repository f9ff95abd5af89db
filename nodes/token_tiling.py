"""Pictures that are predicted in tiles: lossy, and switched on by hand."""

from __future__ import annotations

from typing import Any

from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.token_tiles import TokenTiling as Tiling
from . import sockets
from .host import current

io = current().io


class TokenTiling(io.ComfyNode):
    """Lossy: above 1080p, predict overlapping tiles of the picture one by one, in less memory and time."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_TokenTiling",
            display_name="LTX-2 Token Tiling",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                sockets.Guider.Input("guider", tooltip="From LTX-2 Guider."),
                io.Int.Input(
                    "columns",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Tiles side by side, 1 to 16; with 1 row and 1 column nothing is tiled.",
                ),
                io.Int.Input("rows", default=1, min=1, max=16, tooltip="Tiles one above the other, 1 to 16."),
                io.Int.Input(
                    "overlap",
                    default=160,
                    min=32,
                    max=1024,
                    step=32,
                    optional=True,
                    tooltip="Pixels, at the least, by which neighbours overlap and are blended; a multiple of 32.",
                ),
            ],
            outputs=[sockets.Guider.Output("guider", display_name="guider")],
        )

    @classmethod
    def execute(cls, guider: Any, columns: int, rows: int, overlap: int = 160) -> Any:
        sockets.require(guider, Guider, "guider", "LTX-2 Guider")
        return io.NodeOutput(guider.with_tiling(Tiling(columns, rows, overlap)))


NODES = [TokenTiling]
