"""Prompts to conditioning."""

from __future__ import annotations

from typing import Any

from ..ltx2.recipe import TextEncoderRecipe
from ..ltx2.sampling.denoiser import Context
from . import sockets
from .host import current
from .host.networks import borrow

io = current().io


class EncodePrompt(io.ComfyNode):
    """Text to what the transformer reads, for video and sound alike."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_EncodePrompt",
            display_name="LTX-2 Encode Prompt",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                sockets.TextEncoder.Input("text_encoder", tooltip="From an LTX-2 loader."),
                io.String.Input(
                    "text",
                    multiline=True,
                    default="",
                    tooltip="What is seen and heard, in plain sentences; up to 1024 tokens.",
                ),
            ],
            outputs=[sockets.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, text_encoder: Any, text: str) -> Any:
        sockets.require(text_encoder, TextEncoderRecipe, "text_encoder", "an LTX-2 loader")
        host = current()
        with host.progress("encode prompt") as on_step:
            on_step(0, 1)
            (encoder,) = borrow(text_encoder)
            device = host.device()
            video, audio = encoder(text, device=device, dtype=host.compute_dtype(device))
            on_step(1, 1)
        return io.NodeOutput(Context(video.cpu(), audio.cpu(), is_empty=not text.strip()))


NODES = [EncodePrompt]
