"""Stacking LoRAs: one node each, chained."""

from __future__ import annotations

import logging
from typing import Any

from ..ltx2.checkpoint.lora_use import MODES
from ..ltx2.recipe import FileId, TextEncoderRecipe, TransformerRecipe, with_lora
from . import sockets
from .host import current
from .widgets import file_combo, find_file

io = current().io

LORAS = ("loras",)
logger = logging.getLogger("ltx2")


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
                _factor("video_strength", "the video weights"),
                _factor("audio_strength", "the audio weights"),
                _factor("cross_strength", "the weights by which video and audio hear each other"),
                _block("first_block", 0, "The first transformer block that is changed; from 0."),
                _block("last_block", -1, "The last transformer block that is changed; -1 is the last there is."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    optional=True,
                    tooltip="merge: added to the weights, no cost in sampling. runtime: computed beside the weights, "
                    "takes only the LoRA's own memory, works on fp8 weights, and a new strength costs nothing.",
                    extra_dict={"advanced": True},
                ),
            ],
            outputs=[
                sockets.Transformer.Output("transformer", display_name="transformer"),
                sockets.TextEncoder.Output("text_encoder", display_name="text encoder"),
                io.String.Output("report", display_name="report", tooltip="What it changes, and what is left out."),
            ],
        )

    @classmethod
    def execute(
        cls,
        transformer: Any,
        lora: str,
        strength: float,
        text_encoder: Any = None,
        video_strength: float = 1.0,
        audio_strength: float = 1.0,
        cross_strength: float = 1.0,
        first_block: int = 0,
        last_block: int = -1,
        mode: str = MODES[0],
    ) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", "an LTX-2 loader or LTX-2 LoRA")
        kinds = (TextEncoderRecipe, type(None))
        sockets.require(text_encoder, kinds, "text_encoder", "an LTX-2 loader or LTX-2 LoRA")
        factors = {"video": video_strength, "audio": audio_strength, "cross": cross_strength}
        use = {"strength": strength, **factors, "blocks": (first_block, last_block), "mode": mode}
        *models, report = with_lora(transformer, text_encoder, find_file(lora, LORAS), **use)
        logger.info(report)
        return io.NodeOutput(*models, report)

    @classmethod
    def fingerprint_inputs(cls, lora: str, **_: Any) -> Any:
        return FileId.of(find_file(lora, LORAS)).stamp


def _factor(name: str, weights: str) -> Any:
    return io.Float.Input(
        name,
        default=1.0,
        min=-10.0,
        max=10.0,
        step=0.01,
        optional=True,
        tooltip=f"-10 to 10; multiplies the strength for {weights}. 0 leaves them as they are.",
        extra_dict={"advanced": True},
    )


def _block(name: str, default: int, tooltip: str) -> Any:
    rest = " With a range, weights that are in no block (AdaLN, patchify, text connectors) are left as they are."
    return io.Int.Input(
        name,
        default=default,
        min=default,
        max=999,
        optional=True,
        tooltip=tooltip + rest,
        extra_dict={"advanced": True},
    )


NODES = [Lora]
