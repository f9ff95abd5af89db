"""How a transformer runs: with which attention, compiled or recorded, and with which operations between products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ltx2.compilation import check_compiler
from ..ltx2.layers.attention_backends import AUTOMATIC, BACKENDS, check_backend, in_words
from ..ltx2.layers.fused import check_fused
from ..ltx2.recipe import TransformerRecipe
from ..ltx2.recording import check_graphs
from . import sockets
from .host import current

io = current().io

_PART = "transformer"
_SOURCE = "an LTX-2 loader or LTX-2 LoRA"


class SetAttention(io.ComfyNode):
    """Choose the kernel that attention runs with. Refuses one that does not run here, and says why."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Attention",
            display_name="LTX-2 Attention",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input("transformer", tooltip="The transformer, with or without LoRAs."),
                io.Combo.Input(
                    "attention",
                    options=list(BACKENDS),
                    default=AUTOMATIC,
                    tooltip=f"{in_words()} Untested: nobody has run it with this pack yet. Guides with an attention "
                    "strength stay with torch's own choice.",
                ),
            ],
            outputs=[
                sockets.Transformer.Output(
                    "transformer", display_name="transformer", tooltip="The same transformer with this attention."
                )
            ],
        )

    @classmethod
    def execute(cls, transformer: Any, attention: str) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", _SOURCE)
        device = current().device(_PART)
        check_backend(attention, device, current().compute_dtype(device, _PART))
        return io.NodeOutput(replace(transformer, attention=attention))


class CompileBlocks(io.ComfyNode):
    """Compile the transformer's blocks with torch.compile: for many runs of one size. The first step takes long."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Compile",
            display_name="LTX-2 Compile",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input(
                    "transformer", tooltip="Plain weights (bf16), resident, with merged LoRAs or none: else refused."
                ),
                io.Boolean.Input(
                    "enabled",
                    default=True,
                    tooltip="Off hands on the transformer as it is. Tested on CPUs alone so far.",
                ),
            ],
            outputs=[
                sockets.Transformer.Output(
                    "transformer", display_name="transformer", tooltip="The same transformer, its blocks compiled."
                )
            ],
        )

    @classmethod
    def execute(cls, transformer: Any, enabled: bool) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", _SOURCE)
        if enabled:
            check_compiler(current().device(_PART))
        return io.NodeOutput(replace(transformer, is_compiled=enabled))


class FuseOperations(io.ComfyNode):
    """Run norms, modulation, rotation and gates of the transformer as one GPU kernel each: half as many kernels."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_FusedOperations",
            display_name="LTX-2 Fused Operations",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input(
                    "transformer", tooltip="The transformer, with or without LoRAs, in any precision and placement."
                ),
                io.Boolean.Input(
                    "enabled",
                    default=True,
                    tooltip="Off hands on the transformer as it is. On needs a GPU that torch calls cuda, and triton. "
                    "Equal to rounding. Untested: its kernels ran in Triton's interpreter, on no GPU yet.",
                ),
            ],
            outputs=[
                sockets.Transformer.Output(
                    "transformer", display_name="transformer", tooltip="The same transformer, its operations fused."
                )
            ],
        )

    @classmethod
    def execute(cls, transformer: Any, enabled: bool) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", _SOURCE)
        if enabled:
            check_fused(current().device(_PART))
        return io.NodeOutput(replace(transformer, is_fused=enabled))


class RecordGraphs(io.ComfyNode):
    """Record a step of the transformer as a CUDA graph and replay it: for small clips, which wait for Python."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_CudaGraphs",
            display_name="LTX-2 CUDA Graphs",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input(
                    "transformer", tooltip="The transformer, with or without LoRAs, all of it on the GPU: else refused."
                ),
                io.Boolean.Input(
                    "enabled",
                    default=True,
                    tooltip="Off hands on the transformer as it is. On needs a GPU that torch calls cuda. Equal to "
                    "rounding. Cancelling waits for the end of a step. Untested: it has recorded on no GPU yet.",
                ),
            ],
            outputs=[
                sockets.Transformer.Output(
                    "transformer", display_name="transformer", tooltip="The same transformer, its steps recorded."
                )
            ],
        )

    @classmethod
    def execute(cls, transformer: Any, enabled: bool) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", _SOURCE)
        if enabled:
            check_graphs(current().device(_PART))
        return io.NodeOutput(replace(transformer, is_recorded=enabled))


NODES = [SetAttention, CompileBlocks, FuseOperations, RecordGraphs]
