"""Where the transformer and the text encoder are while they compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ltx2.errors import LTX2Error
from ..ltx2.placement import AUTOMATIC, MAX_SLOTS, MIN_SLOTS, MODES, Placement
from ..ltx2.recipe import TextEncoderRecipe, TransformerRecipe
from ..ltx2.runtime.placement import PRESETS
from . import sockets
from .host import current

io = current().io

_FREE = "all that is free"
_SOURCE = "an LTX-2 loader or LTX-2 LoRA"
_TOOLTIP = (
    "resident: all weights on the GPU (ComfyUI still leaves a part in RAM where they do not fit). streamed from RAM: "
    "blocks are in pinned RAM, and come to the GPU one after the other while those before compute. streamed from disk: "
    "the same from the file, and RAM holds two or three of them. automatic: the first of these that fits what is free, "
    "and less where memory runs out all the same."
)


class SetPlacement(io.ComfyNode):
    """Choose how a model that is larger than the GPU's memory runs. Without this node ComfyUI decides."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Placement",
            display_name="LTX-2 Placement",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input(
                    "transformer", optional=True, tooltip="The transformer, with or without LoRAs: 48 blocks."
                ),
                sockets.TextEncoder.Input(
                    "text_encoder",
                    optional=True,
                    tooltip="The text encoder: Gemma's 48 layers are its blocks, and then those of the connectors.",
                ),
                io.Combo.Input(
                    "placement",
                    options=list(MODES),
                    default=AUTOMATIC,
                    tooltip=_TOOLTIP,
                ),
                io.Combo.Input(
                    "memory",
                    options=[_FREE, *PRESETS],
                    default=_FREE,
                    tooltip="The size of the GPU that it must fit, for automatic; 8 % of it are left to others.",
                ),
                io.Int.Input(
                    "slots",
                    default=MIN_SLOTS,
                    min=MIN_SLOTS,
                    max=MAX_SLOTS,
                    optional=True,
                    tooltip="2 or 3 blocks on the GPU at once where they are streamed; 3 evens out a slow disk.",
                    extra_dict={"advanced": True},
                ),
            ],
            outputs=[
                sockets.Transformer.Output(
                    "transformer", display_name="transformer", tooltip="The same transformer, placed so."
                ),
                sockets.TextEncoder.Output(
                    "text_encoder", display_name="text encoder", tooltip="The same text encoder, placed so."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        placement: str,
        memory: str,
        transformer: Any = None,
        text_encoder: Any = None,
        slots: int = MIN_SLOTS,
    ) -> Any:
        sockets.require(transformer, (TransformerRecipe, type(None)), "transformer", _SOURCE)
        sockets.require(text_encoder, (TextEncoderRecipe, type(None)), "text_encoder", _SOURCE)
        if transformer is None and text_encoder is None:
            raise LTX2Error("LTX-2 Placement places a model; nothing is connected: connect a transformer or encoder")
        if memory not in (_FREE, *PRESETS):
            raise LTX2Error(f"memory must be one of {', '.join((_FREE, *PRESETS))}; got {memory!r}")
        chosen = Placement(placement, slots, PRESETS.get(memory))
        return io.NodeOutput(*(one and replace(one, placement=chosen) for one in (transformer, text_encoder)))


NODES = [SetPlacement]
