"""Prompts to conditioning."""

from __future__ import annotations

from typing import Any

from ..ltx2.prompting.embedding_cache import EmbeddingCache, key_of
from ..ltx2.prompting.negative import NEGATIVE_PROMPT
from ..ltx2.recipe import TextEncoderRecipe
from ..ltx2.sampling.denoiser import Context
from . import sockets
from .host import current
from .host.networks import borrow

io = current().io


def _cache_switch() -> Any:
    return io.Boolean.Input(
        "cache",
        optional=True,
        default=True,
        tooltip="Keep the encoded prompt on disk, so that the same prompt needs no text encoder again. Files are named "
        "by a hash and hold embeddings, not the text; beyond 256 of them or 1 GiB the oldest go.",
    )


def _encoded(text_encoder: Any, text: str, cache: bool) -> Context:
    """The contexts of `text`, from the disk where they are kept and `cache` says so."""
    sockets.require(text_encoder, TextEncoderRecipe, "text_encoder", "an LTX-2 loader")
    host = current()
    device = host.device()
    dtype = host.compute_dtype(device)

    def compute() -> Any:
        (encoder,) = borrow(text_encoder)
        return encoder(text, device=device, dtype=dtype)

    with host.progress("encode prompt") as on_step:
        on_step(0, 1)
        if cache:
            kept = EmbeddingCache(host.cache_folder() / "prompts")
            video, audio = kept.contexts(key_of(text_encoder, text, device, dtype), compute)
        else:
            video, audio = compute()
        on_step(1, 1)
    return Context(video.cpu(), audio.cpu(), is_empty=not text.strip())


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
                _cache_switch(),
            ],
            outputs=[sockets.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, text_encoder: Any, text: str, cache: bool = True) -> Any:
        return io.NodeOutput(_encoded(text_encoder, text, cache))


class NegativePrompt(io.ComfyNode):
    """What guidance steers away from: a list of common faults to start from. Only cfg above 1 makes use of it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_NegativePrompt",
            display_name="LTX-2 Negative Prompt",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                sockets.TextEncoder.Input("text_encoder", tooltip="From an LTX-2 loader."),
                io.String.Input(
                    "text",
                    multiline=True,
                    default=NEGATIVE_PROMPT,
                    tooltip="What must be neither seen nor heard; up to 1024 tokens. An empty text is one, too.",
                ),
                _cache_switch(),
            ],
            outputs=[sockets.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, text_encoder: Any, text: str, cache: bool = True) -> Any:
        return io.NodeOutput(_encoded(text_encoder, text, cache))


NODES = [EncodePrompt, NegativePrompt]
