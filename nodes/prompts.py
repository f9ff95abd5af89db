"""Prompts to conditioning."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..ltx2.geometry import MAX_SEED
from ..ltx2.prompting.chat import MAX_QUESTION
from ..ltx2.prompting.embedding_cache import kept_contexts, key_of
from ..ltx2.prompting.enhance import enhance
from ..ltx2.prompting.generate import Sampling
from ..ltx2.prompting.negative import NEGATIVE_PROMPT
from ..ltx2.prompting.system_prompts import IMAGE_SYSTEM_PROMPT, TEXT_SYSTEM_PROMPT
from ..ltx2.prompting.vision import VisionRecipe, picture_pixels
from ..ltx2.recipe import TextEncoderRecipe
from ..ltx2.runtime.estimates import answer_bytes, likely_tokens, prompt_bytes, vision_bytes
from ..ltx2.sampling.denoiser import Context
from . import sockets
from .computation import Computation
from .host import current

io = current().io


def _text_inputs(default: str, tooltip: str) -> list[Any]:
    return [
        sockets.TextEncoder.Input("text_encoder", tooltip="From an LTX-2 loader."),
        io.String.Input("text", multiline=True, default=default, tooltip=tooltip),
        io.Boolean.Input(
            "cache",
            optional=True,
            default=True,
            tooltip="Keep the encoded prompt on disk, so that the same prompt needs no text encoder again. Files are "
            "named by a hash and hold embeddings, not the text; beyond 256 of them or 1 GiB the oldest go.",
        ),
    ]


def _encoded(text_encoder: Any, text: str, cache: bool) -> Context:
    """The contexts of `text`, from the disk where they are kept and `cache` says so."""
    sockets.require(text_encoder, TextEncoderRecipe, "text_encoder", "an LTX-2 loader")

    def encoded(computation: Computation) -> Any:
        device, dtype = computation.device, computation.dtype

        def compute() -> Any:
            room = prompt_bytes(text_encoder.config, text_encoder.connectors, likely_tokens(text), dtype)
            (encoder,) = computation.borrow(text_encoder, activation_bytes=room)
            return encoder(text, device=device, dtype=dtype)

        computation.on_step(0, 1)
        if cache:
            folder, key = current().cache_folder() / "prompts", key_of(text_encoder, text, device, dtype)
            found = kept_contexts(folder, key, text_encoder, compute)
        else:
            found = compute()
        computation.on_step(1, 1)
        return found

    video, audio = Computation.run("encode prompt", encoded)
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
            inputs=_text_inputs("", "What is seen and heard, in plain sentences; up to 1024 tokens."),
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
            inputs=_text_inputs(
                NEGATIVE_PROMPT, "What must be neither seen nor heard; up to 1024 tokens. An empty text is one, too."
            ),
            outputs=[sockets.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, text_encoder: Any, text: str, cache: bool = True) -> Any:
        return io.NodeOutput(_encoded(text_encoder, text, cache))


class EnhancePrompt(io.ComfyNode):
    """An idea, written out by the text encoder's own language model: what is seen and heard, step by step."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_EnhancePrompt",
            display_name="LTX-2 Enhance Prompt",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                sockets.TextEncoder.Input("text_encoder", tooltip="From an LTX-2 loader."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The clip's first frame, one picture; the prompt then says what happens from there. Needs "
                    "Gemma's folder, or a file with its vision tower.",
                ),
                io.String.Input(
                    "text", multiline=True, default="", tooltip="The idea; may be empty where there is an image."
                ),
                io.String.Input(
                    "system_prompt",
                    multiline=True,
                    default="",
                    tooltip="What the language model is told first; empty for the pack's own, of which there is one "
                    "for a text and one for an image.",
                ),
                *_answer_widgets(),
            ],
            outputs=[io.String.Output("prompt", display_name="prompt")],
        )

    @classmethod
    def execute(
        cls,
        text_encoder: Any,
        text: str,
        system_prompt: str,
        max_tokens: int,
        temperature: float,
        seed: int,
        enabled: bool,
        image: Any = None,
    ) -> Any:
        sockets.require(text_encoder, TextEncoderRecipe, "text_encoder", "an LTX-2 loader")
        if not enabled:
            return io.NodeOutput(text)
        sampling = Sampling(max_tokens, temperature, seed)
        picture = None if image is None else _seen(text_encoder, image)
        return io.NodeOutput(_enhanced(text_encoder, text, system_prompt, sampling, picture))


def _answer_widgets() -> list[Any]:
    return [
        io.Int.Input(
            "max_tokens", default=512, min=1, max=2048, tooltip="Where the answer is cut off; 1 to 2048 tokens."
        ),
        io.Float.Input(
            "temperature",
            default=0.7,
            min=0.0,
            max=2.0,
            step=0.01,
            tooltip="How freely words are chosen, 0 to 2; 0 takes the likeliest one each time, whatever the seed.",
        ),
        io.Int.Input(
            "seed",
            default=10,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="Of the choice of words; 0 to 2^53 - 1. The same seed gives the same prompt.",
        ),
        io.Boolean.Input("enabled", default=True, tooltip="Off: the text is passed on as it is and nothing is loaded."),
    ]


def _seen(text_encoder: TextEncoderRecipe, image: Any) -> Tensor:
    """The picture as the language model reads it (1, tokens, width)."""
    recipe = VisionRecipe.of(text_encoder)
    pixels = picture_pixels(image, recipe.config.image_size)

    def seen(computation: Computation) -> Tensor:
        computation.on_step(0, 1)
        room = vision_bytes(recipe.config, computation.dtype)
        (vision,) = computation.borrow(recipe, activation_bytes=room)
        picture = vision(pixels.to(computation.device, computation.dtype)).cpu()
        computation.on_step(1, 1)
        return picture

    return Computation.run("look at the image", seen)


def _enhanced(
    text_encoder: TextEncoderRecipe, text: str, system_prompt: str, sampling: Sampling, picture: Tensor | None
) -> str:
    told = system_prompt.strip() or (TEXT_SYSTEM_PROMPT if picture is None else IMAGE_SYSTEM_PROMPT)
    question = likely_tokens(told + text, MAX_QUESTION) + (0 if picture is None else picture.shape[1])

    def enhanced(computation: Computation) -> str:
        computation.on_step(0, sampling.max_tokens)
        room = answer_bytes(text_encoder.config, question, sampling.max_tokens, computation.dtype)
        (encoder,) = computation.borrow(text_encoder, activation_bytes=room)
        return enhance(
            encoder,
            text,
            sampling,
            device=computation.device,
            dtype=computation.dtype,
            system_prompt=system_prompt,
            picture=picture,
            on_token=computation.on_step,
        )

    return Computation.run("enhance prompt", enhanced)


NODES = [EncodePrompt, NegativePrompt, EnhancePrompt]
