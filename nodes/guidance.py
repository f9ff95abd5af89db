"""How strongly the prompt and the other modality steer, and the guider that gathers it all."""

from __future__ import annotations

from typing import Any

from ..ltx2.guidance.guidance import Guidance, GuidanceTable, blocks_of
from ..ltx2.guidance.presets import PRESETS
from ..ltx2.guidance.terms import METHODS
from ..ltx2.recipe import TransformerRecipe
from ..ltx2.sampling.denoiser import Context
from ..ltx2.sampling.guider import Guider
from . import sockets
from .host import current

io = current().io


class MakeGuidance(io.ComfyNode):
    """Guidance for one modality. For dev models; distilled models take none. A term at its neutral value is free."""

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
                *_terms(),
                *_projection(),
                *(widget for term in ("cfg", "stg", "modality") for widget in _sigmas(term)),
            ],
            outputs=[sockets.Guidance.Output("guidance", display_name="guidance")],
        )

    @classmethod
    def execute(
        cls,
        cfg: float,
        stg: float = 0.0,
        stg_blocks: str = "",
        modality: float = 1.0,
        rescale: float = 0.0,
        skip_step: int = 0,
        method: str = "cfg",
        apg_eta: float = 1.0,
        apg_threshold: float = 0.0,
        apg_momentum: float = 0.0,
        cfg_start_sigma: float = 1.0,
        cfg_end_sigma: float = 0.0,
        stg_start_sigma: float = 1.0,
        stg_end_sigma: float = 0.0,
        modality_start_sigma: float = 1.0,
        modality_end_sigma: float = 0.0,
    ) -> Any:
        guidance = Guidance(
            cfg=cfg,
            stg=stg,
            stg_blocks=blocks_of(stg_blocks),
            modality=modality,
            rescale=rescale,
            skip_step=skip_step,
            method=method,
            eta=apg_eta,
            norm_threshold=apg_threshold,
            momentum=apg_momentum,
            cfg_sigmas=(cfg_end_sigma, cfg_start_sigma),
            stg_sigmas=(stg_end_sigma, stg_start_sigma),
            modality_sigmas=(modality_end_sigma, modality_start_sigma),
        )
        return io.NodeOutput(guidance)


def _terms() -> list[Any]:
    return [
        _number(
            "stg",
            0.0,
            "Away from the prediction with perturbed self-attention, for steadier motion and structure; 0 is neutral. "
            "Usual: 1.",
        ),
        io.String.Input(
            "stg_blocks",
            default="",
            optional=True,
            tooltip="Blocks that stg perturbs, as in: 14, 19. Empty: the release's own (29 in LTX-2, 28 since); "
            "in the audio's guidance, the video's.",
            extra_dict={"advanced": True},
        ),
        _number(
            "modality",
            1.0,
            "Away from the prediction that does not know of the other modality, for sound that fits the picture; "
            "1 is neutral. Usual: 3.",
        ),
        _number(
            "rescale",
            0.0,
            "How far the spread of the guided prediction is brought back, against burnt colours; 0 to 1. Usual: 0.7.",
            high=1.0,
        ),
        io.Int.Input(
            "skip_step",
            default=0,
            min=0,
            max=10,
            optional=True,
            tooltip="Lossy: so many steps reuse the prediction of the last one that was made. For runs of 16 steps or "
            "more; 0: none.",
            extra_dict={"advanced": True},
        ),
    ]


def _projection() -> list[Any]:
    return [
        io.Combo.Input(
            "method",
            options=list(METHODS),
            default="cfg",
            optional=True,
            tooltip="How cfg is applied: plainly; with the negative prediction scaled to fit (cfg_star); or projected "
            "(apg), which saturates less at high scales.",
            extra_dict={"advanced": True},
        ),
        _number("apg_eta", 1.0, "apg: share of what is parallel to the prediction; 1 is all of it.", is_advanced=True),
        _number(
            "apg_threshold",
            0.0,
            "apg: the longest that the difference of the two may be, over the whole clip (large clips have long ones); "
            "0: any.",
            high=10_000.0,  # 4 million numbers at 1920x1088x121, each off by 1, are 2000 long
            is_advanced=True,
        ),
        _number(
            "apg_momentum",
            0.0,
            "apg: share of the last steps' difference that is added; -1 to 1, 0 is none. Usual: -0.5.",
            low=-1.0,
            high=1.0,
            is_advanced=True,
        ),
    ]


def _sigmas(term: str) -> list[Any]:
    return [
        _number(
            f"{term}_start_sigma",
            1.0,
            f"{term} holds from this sigma; 0 to 1. Below 1 it saves passes, and is lossy.",
            high=1.0,
            is_advanced=True,
        ),
        _number(
            f"{term}_end_sigma",
            0.0,
            f"{term} holds down to this sigma; 0 to 1. Above 0 it saves passes, and is lossy.",
            high=1.0,
            is_advanced=True,
        ),
    ]


def _number(
    name: str, default: float, tooltip: str, *, low: float = 0.0, high: float = 100.0, is_advanced: bool = False
) -> Any:
    return io.Float.Input(
        name,
        default=default,
        min=low,
        max=high,
        step=0.001,
        optional=True,
        tooltip=tooltip,
        extra_dict={"advanced": True} if is_advanced else None,
    )


class GuidancePreset(io.ComfyNode):
    """The guidance that the released models are used with, for picture and sound."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_GuidancePreset",
            display_name="LTX-2 Guidance Preset",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default=next(iter(PRESETS)),
                    tooltip="LTX-2 dev: any dev model. HQ: with the res_2s solver and a quarter of the distilled LoRA. "
                    "Audio only: sound without a picture.",
                ),
            ],
            outputs=[
                sockets.Guidance.Output("video_guidance", display_name="video_guidance"),
                sockets.Guidance.Output("audio_guidance", display_name="audio_guidance"),
            ],
        )

    @classmethod
    def execute(cls, preset: str) -> Any:
        return io.NodeOutput(*PRESETS[preset])


class GuidanceBySigma(io.ComfyNode):
    """One guidance for the noisy steps and another for the rest. Chain several for more ranges."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_GuidanceBySigma",
            display_name="LTX-2 Guidance By Sigma",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                sockets.Guidance.Input("above", tooltip="Holds at noise levels from sigma up."),
                sockets.Guidance.Input("below", tooltip="Holds at noise levels under sigma."),
                io.Float.Input(
                    "sigma",
                    default=0.9,
                    min=0.001,
                    max=1.0,
                    step=0.001,
                    tooltip="The noise level where the two meet; above 0 and up to 1.",
                ),
            ],
            outputs=[sockets.Guidance.Output("guidance", display_name="guidance")],
        )

    @classmethod
    def execute(cls, above: Any, below: Any, sigma: float) -> Any:
        for name, value in (("above", above), ("below", below)):
            sockets.require(value, (Guidance, GuidanceTable), name, "LTX-2 Guidance")
        return io.NodeOutput(GuidanceTable.split(above, below, sigma))


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
                io.Int.Input(
                    "passes_per_forward",
                    default=0,
                    min=0,
                    max=4,
                    optional=True,
                    tooltip="How many of a guided step's up to four passes run at once; 0: as many as memory allows.",
                    extra_dict={"advanced": True},
                ),
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
        passes_per_forward: int = 0,
    ) -> Any:
        sockets.require(transformer, TransformerRecipe, "transformer", "an LTX-2 loader or LTX-2 LoRA")
        sockets.require(positive, Context, "positive", "LTX-2 Encode Prompt")
        sockets.require(negative, (Context, type(None)), "negative", "LTX-2 Encode Prompt")
        for name, value in (("video_guidance", video_guidance), ("audio_guidance", audio_guidance)):
            sockets.require(value, (Guidance, GuidanceTable, type(None)), name, "LTX-2 Guidance")
        guidance = (video_guidance, audio_guidance)
        return io.NodeOutput(Guider.of(transformer, positive, negative, *guidance, passes_per_forward))


NODES = [MakeGuidance, GuidancePreset, GuidanceBySigma, MakeGuider]
