"""What a guider wire carries: the transformer's recipe, the prompts, and each modality's guidance."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..errors import LTX2Error
from ..guidance.guidance import NEUTRAL, Guidance
from ..recipe import TransformerRecipe
from .denoiser import Context, Prompts

logger = logging.getLogger("ltx2")


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
        video: Guidance | None = None,
        audio: Guidance | None = None,
    ) -> Guider:
        """Without any guidance the distilled guider; audio guidance that is not given follows the video's.

        Raises:
            LTX2Error: cfg without a negative prompt; prompts encoded for another release.
        """
        video = video or NEUTRAL
        audio = audio or video
        if negative is None and (video.cfg != 1 or audio.cfg != 1):
            raise LTX2Error(
                f"cfg away from 1 needs a negative prompt; got cfg {video.cfg:g} (video) and {audio.cfg:g} (audio): "
                "connect a second LTX-2 Encode Prompt, or set cfg to 1"
            )
        if positive.is_empty:
            logger.warning("the positive prompt is empty: the clip will show anything; say what is seen and heard")
        for context in (positive, negative):
            if context is not None:
                _check_width(context, transformer)
        return cls(transformer, Prompts(positive, negative, video, audio))


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
