"""Bridges to ComfyUI's own LTX-2 nodes: latents, prompts and the guider, in both directions where there are two."""

from __future__ import annotations

from typing import Any

from ..ltx2.errors import LTX2Error
from ..ltx2.interop.latents import from_streams, to_streams
from ..ltx2.interop.prompts import features, read, to_conditioning, unprocessed
from ..ltx2.recipe import TextEncoderRecipe
from ..ltx2.runtime.estimates import likely_tokens, prompt_bytes
from ..ltx2.sampling.denoiser import Context
from ..ltx2.sampling.guider import Guider
from . import sockets, widgets
from .bridges_guider import ComfyGuider
from .computation import Computation
from .host import current
from .host.bridges import bridges

io = current().io


class LatentsToComfyUI(io.ComfyNode):
    """Video and sound as the one audio-video latent of ComfyUI's own LTX-2 nodes. Masks go with them."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LatentsToComfyUI",
            display_name="LTX-2 Latents to ComfyUI",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input(
                    "video", optional=True, tooltip="A video latent of this pack; its run must have ended."
                ),
                io.Latent.Input("audio", optional=True, tooltip="The audio latent that goes with it, or sound alone."),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent")],
        )

    @classmethod
    def execute(cls, video: Any = None, audio: Any = None) -> Any:
        streams, extra = to_streams(video, audio)
        wrap = bridges().nested if len(streams.samples) > 1 else lambda tensors: tensors[0]
        latent = {**extra, "samples": wrap(streams.samples)}
        if streams.masks is not None:
            latent["noise_mask"] = wrap(streams.masks)
        return io.NodeOutput(latent)


class LatentsFromComfyUI(io.ComfyNode):
    """A latent of ComfyUI's own LTX-2 nodes as video and sound of this pack."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LatentsFromComfyUI",
            display_name="LTX-2 Latents from ComfyUI",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input(
                    "latent", tooltip="Video and sound together, or one alone. Crop ComfyUI's guides first."
                ),
                io.Float.Input(
                    "frame_rate",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second, 1 to 240; 0 for what the latent carries, where it came from this pack.",
                ),
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio"),
            ],
        )

    @classmethod
    def execute(cls, latent: Any, frame_rate: float) -> Any:
        return io.NodeOutput(*from_streams(latent, float(frame_rate)))


class ConditioningToComfyUI(io.ComfyNode):
    """An encoded prompt for ComfyUI's own LTX-2 model, as it is after the text connectors: every version takes it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ConditioningToComfyUI",
            display_name="LTX-2 Conditioning to ComfyUI",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                sockets.Conditioning.Input("conditioning", tooltip="From LTX-2 Encode Prompt."),
                widgets.frame_rate(),
            ],
            outputs=[io.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, conditioning: Any, frame_rate: float) -> Any:
        sockets.require(conditioning, Context, "conditioning", "LTX-2 Encode Prompt")
        return io.NodeOutput(to_conditioning(conditioning, frame_rate))


class EncodePromptForComfyUI(io.ComfyNode):
    """Text for ComfyUI's own LTX-2 model before the text connectors, which its newer versions run themselves."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_EncodePromptForComfyUI",
            display_name="LTX-2 Encode Prompt for ComfyUI",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                sockets.TextEncoder.Input(
                    "text_encoder", tooltip="From an LTX-2 loader. Its LoRAs are not used: those of the MODEL are."
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    default="",
                    tooltip="What is seen and heard, in plain sentences; up to 1024 tokens.",
                ),
                widgets.frame_rate(),
            ],
            outputs=[io.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, text_encoder: Any, text: str, frame_rate: float) -> Any:
        sockets.require(text_encoder, TextEncoderRecipe, "text_encoder", "an LTX-2 loader")
        if not bridges().takes_features():
            raise LTX2Error(
                "prompts before the connectors need a ComfyUI whose LTX-2 model runs them; this one is older: use "
                "LTX-2 Encode Prompt and LTX-2 Conditioning to ComfyUI, or update ComfyUI"
            )

        def made(computation: Computation) -> Any:
            computation.on_step(0, 1)
            room = prompt_bytes(text_encoder.config, text_encoder.connectors, likely_tokens(text), computation.dtype)
            (encoder,) = computation.borrow(text_encoder, activation_bytes=room)
            found = features(encoder, text, computation.device, computation.dtype)
            computation.on_step(1, 1)
            return found

        return io.NodeOutput(unprocessed(Computation.run("encode prompt", made), frame_rate))


class ConditioningFromComfyUI(io.ComfyNode):
    """A prompt that ComfyUI encoded for its own LTX-2 model, for the nodes of this pack."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ConditioningFromComfyUI",
            display_name="LTX-2 Conditioning from ComfyUI",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Conditioning.Input(
                    "conditioning", tooltip="One prompt of CLIP Text Encode or LTXVConditioning, with nothing added."
                ),
                sockets.TextEncoder.Input(
                    "text_encoder",
                    tooltip="Of the same release. Its connectors run where ComfyUI left that to its model; else it is "
                    "not loaded.",
                ),
            ],
            outputs=[
                sockets.Conditioning.Output("conditioning", display_name="conditioning"),
                io.Float.Output("frame_rate", display_name="frame_rate"),
            ],
        )

    @classmethod
    def execute(cls, conditioning: Any, text_encoder: Any) -> Any:
        sockets.require(text_encoder, TextEncoderRecipe, "text_encoder", "an LTX-2 loader")
        prompt = read(conditioning, text_encoder.connectors)
        if not prompt.needs_connectors:
            return io.NodeOutput(prompt.context(), prompt.frame_rate)

        def connected(computation: Computation) -> Context:
            computation.on_step(0, 1)
            room = prompt_bytes(text_encoder.config, text_encoder.connectors, prompt.video.shape[1], computation.dtype)
            (encoder,) = computation.borrow(text_encoder, activation_bytes=room)
            context = prompt.connected(encoder, computation.device, computation.dtype)
            computation.on_step(1, 1)
            return context

        return io.NodeOutput(Computation.run("encode prompt", connected), prompt.frame_rate)


class GuiderToComfyUI(io.ComfyNode):
    """This pack's guider for ComfyUI's SamplerCustomAdvanced and its samplers. Guides of the latents go with it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_GuiderToComfyUI",
            display_name="LTX-2 Guider to ComfyUI",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                sockets.Guider.Input("guider", tooltip="From LTX-2 Guider."),
                io.Latent.Input("video", optional=True, tooltip="Where the picture starts, with its masks and guides."),
                io.Latent.Input("audio", optional=True, tooltip="Where the sound starts."),
            ],
            outputs=[
                io.Guider.Output("guider", display_name="guider"),
                io.Latent.Output("latent", display_name="latent"),
            ],
        )

    @classmethod
    def execute(cls, guider: Any, video: Any = None, audio: Any = None) -> Any:
        sockets.require(guider, Guider, "guider", "LTX-2 Guider")
        return io.NodeOutput(*ComfyGuider.with_latent(guider, video, audio))


NODES = [
    LatentsToComfyUI,
    LatentsFromComfyUI,
    ConditioningToComfyUI,
    EncodePromptForComfyUI,
    ConditioningFromComfyUI,
    GuiderToComfyUI,
]
