"""Stacking LoRAs: one node each, chained."""

from __future__ import annotations

from typing import Any

from ..ltx2.recipe import FileId, TextEncoderRecipe, TransformerRecipe, with_lora
from . import sockets
from .host import current
from .widgets import file_combo, find_file

io = current().io

LORAS = ("loras",)


class Lora(io.ComfyNode):
    """Put a LoRA on top of a transformer, and of the text connectors where it changes them."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Lora",
            display_name="LTX-2 LoRA",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input("transformer", tooltip="The transformer, with or without other LoRAs."),
                sockets.TextEncoder.Input(
                    "text_encoder", optional=True, tooltip="For LoRAs that change the text connectors too."
                ),
                file_combo("lora", LORAS, "A LoRA of any rank."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.01,
                    tooltip="-10 to 10; 1 as trained, 0 leaves the model as it is.",
                ),
            ],
            outputs=[
                sockets.Transformer.Output("transformer", display_name="transformer"),
                sockets.TextEncoder.Output("text_encoder", display_name="text encoder"),
            ],
        )

    @classmethod
    def execute(cls, transformer: Any, lora: str, strength: float, text_encoder: Any = None) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", "an LTX-2 loader or LTX-2 LoRA")
        kinds = (TextEncoderRecipe, type(None))
        sockets.require(text_encoder, kinds, "text_encoder", "an LTX-2 loader or LTX-2 LoRA")
        return io.NodeOutput(*with_lora(transformer, text_encoder, find_file(lora, LORAS), strength)[:2])

    @classmethod
    def fingerprint_inputs(cls, lora: str, **_: Any) -> Any:
        return FileId.of(find_file(lora, LORAS)).stamp


NODES = [Lora]
