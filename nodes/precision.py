"""In which precision a transformer runs."""

from __future__ import annotations

from typing import Any

from ..ltx2.precision.choices import AS_STORED, PRECISIONS, check_device
from ..ltx2.recipe import TransformerRecipe
from . import sockets
from .host import current

io = current().io

_PART = "transformer"
_TOOLTIP = (
    "as stored: weights stay as their file keeps them (bf16, fp8, int8, NVFP4, GGUF) and become numbers of the dtype "
    "that is computed in where they are used. fp8 cast: attention and feed-forward layers of a bf16 file become fp8 "
    "as they are loaded, after LoRAs are merged: half the memory, 1 to 2 % of error. fp8 scaled matmul: layers of an "
    "fp8 file multiply in fp8, faster where the GPU can (NVIDIA Ada or newer); refused where it cannot."
)


class SetPrecision(io.ComfyNode):
    """Choose the precision in which the transformer keeps its weights and multiplies."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Precision",
            display_name="LTX-2 Precision",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input("transformer", tooltip="The transformer, with or without LoRAs."),
                io.Combo.Input("precision", options=list(PRECISIONS), default=AS_STORED, tooltip=_TOOLTIP),
            ],
            outputs=[
                sockets.Transformer.Output(
                    "transformer", display_name="transformer", tooltip="The same transformer in this precision."
                )
            ],
        )

    @classmethod
    def execute(cls, transformer: Any, precision: str) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", "an LTX-2 loader or LTX-2 LoRA")
        device = current().device(_PART)
        check_device(precision, device, current().compute_dtype(device, _PART))
        return io.NodeOutput(transformer.with_precision(precision))


NODES = [SetPrecision]
