"""What a guider wire carries: the transformer's recipe, the prompts, and each modality's guidance."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ..errors import LTX2Error
from ..guidance.guidance import FOLLOWING, NEUTRAL, AnyGuidance, farthest_cfg
from ..recipe import TransformerRecipe
from .denoiser import Context, Prompts
from .step_cache import StepCaching
from .token_tiles import TokenTiling

logger = logging.getLogger("ltx2")

_DISTILLED = "distilled"
#: Up to this strength the distilled LoRA goes with guidance: 0.25 in the first HQ stage, 0.5 in the second.
_WEAK = 0.6


@dataclass(frozen=True, eq=False)
class Guider:
    """A transformer and what steers it."""

    transformer: TransformerRecipe
    prompts: Prompts

    def __repr__(self) -> str:
        return f"<guider of {self.transformer!r}>"

    @classmethod
    def of(
        cls,
        transformer: TransformerRecipe,
        positive: Context,
        negative: Context | None = None,
        video: AnyGuidance | None = None,
        audio: AnyGuidance | None = None,
        passes_per_forward: int = 0,
    ) -> Guider:
        """Without any guidance the distilled guider; audio guidance that is not given follows the video's.

        Raises:
            LTX2Error: cfg without a negative prompt; prompts encoded for another release; blocks that are not there;
                fewer than 0 passes per forward.
        """
        if passes_per_forward < 0:
            raise LTX2Error(f"passes_per_forward must be 0 (as memory allows) or more; got {passes_per_forward}")
        config = transformer.config
        video = (video or NEUTRAL).each(lambda one: one.fitted(config))
        audio = (audio or FOLLOWING).each(lambda one: one if one.stg_blocks is None else one.fitted(config))
        scales = farthest_cfg(video, audio)
        if negative is None and scales != (1, 1):
            raise LTX2Error(
                f"cfg away from 1 needs a negative prompt; got cfg {scales[0]:g} (video) and {scales[1]:g} (audio): "
                "connect a second LTX-2 Encode Prompt, or set cfg to 1"
            )
        if scales != (1, 1) and (name := _distilled_part(transformer)):
            logger.warning(
                "cfg %g (video) and %g (audio) burn the picture of a distilled model, which %s is by its name: "
                "leave the guidance unconnected",
                *scales,
                name,
            )
        if positive.is_empty:
            logger.warning("the positive prompt is empty: the clip will show anything; say what is seen and heard")
        for context in (positive, negative):
            if context is not None:
                _check_width(context, transformer)
        return cls(transformer, Prompts(positive, negative, video, audio, passes_per_forward))

    def with_caching(self, caching: StepCaching) -> Guider:
        """This guider, whose runs may leave predictions out; lossy."""
        return replace(self, prompts=replace(self.prompts, caching=caching))

    def with_tiling(self, tiling: TokenTiling) -> Guider:
        """This guider, whose runs predict large pictures in tiles; lossy."""
        return replace(self, prompts=replace(self.prompts, tiling=tiling))


def _distilled_part(transformer: TransformerRecipe) -> str | None:
    """The file that makes a model a distilled one. Only names tell: their configs and keys are a dev model's."""
    files = [transformer.file, *(lora.file for lora in transformer.loras if lora.strength > _WEAK)]
    return next((file.path.name for file in files if _DISTILLED in file.path.name.lower()), None)


def _check_width(context: Context, transformer: TransformerRecipe) -> None:
    config = transformer.config
    if config.caption_projection:
        expected = (config.caption_channels, config.caption_channels)
    else:
        expected = (config.cross_attention_dim, config.audio_cross_attention_dim)
    got = (context.video.shape[-1], context.audio.shape[-1])
    if got != expected:
        raise LTX2Error(
            f"prompts must be encoded with the connectors of the transformer's own release; {transformer!r} reads "
            f"contexts {expected[0]} and {expected[1]} wide, got {got[0]} and {got[1]}: choose the matching checkpoint "
            "in the text encoder's loader"
        )
