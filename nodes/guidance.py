"""How strongly the prompt and the other modality steer, and the guider that gathers it all."""

from __future__ import annotations

from typing import Any

from ..ltx2.guidance.guidance import Guidance
from ..ltx2.recipe import TransformerRecipe
from ..ltx2.sampling.denoiser import Context
from ..ltx2.sampling.guider import Guider
from . import sockets
from .host import current

io = current().io


class MakeGuidance(io.ComfyNode):
    """Guidance scales for one modality. For dev models; distilled models take none."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Guidance",
            display_name="LTX-2 Guidance",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.Float.Input(
                    "cfg",
                    default=3.0,
                    min=0.0,
                    max=100.0,
                    step=0.01,
                    tooltip="Away from the negative prompt; 1 is neutral and costs nothing. Usual: video 3, audio 7.",
                ),
            ],
            outputs=[sockets.Guidance.Output("guidance", display_name="guidance")],
        )

    @classmethod
    def execute(cls, cfg: float) -> Any:
        return io.NodeOutput(Guidance(cfg=cfg))


class MakeGuider(io.ComfyNode):
    """Transformer, prompts and guidance. Without guidance: one call a step, as distilled models want it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Guider",
            display_name="LTX-2 Guider",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                sockets.Transformer.Input("transformer", tooltip="With its LoRAs."),
                sockets.Conditioning.Input("positive", tooltip="What to show."),
                sockets.Conditioning.Input(
                    "negative", optional=True, tooltip="What to avoid; needed where cfg is not 1."
                ),
                sockets.Guidance.Input("video_guidance", optional=True, tooltip="Unconnected: none, as for distilled."),
                sockets.Guidance.Input("audio_guidance", optional=True, tooltip="Unconnected: the video's."),
            ],
            outputs=[sockets.Guider.Output("guider", display_name="guider")],
        )

    @classmethod
    def execute(
        cls,
        transformer: Any,
        positive: Any,
        negative: Any = None,
        video_guidance: Any = None,
        audio_guidance: Any = None,
    ) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", "an LTX-2 loader or LTX-2 LoRA")
        sockets.require(positive, Context, "positive", "LTX-2 Encode Prompt")
        sockets.require(negative, (Context, type(None)), "negative", "LTX-2 Encode Prompt")
        for name, value in (("video_guidance", video_guidance), ("audio_guidance", audio_guidance)):
            sockets.require(value, (Guidance, type(None)), name, "LTX-2 Guidance")
        return io.NodeOutput(Guider.of(transformer, positive, negative, video_guidance, audio_guidance))


NODES = [MakeGuidance, MakeGuider]
