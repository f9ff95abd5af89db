"""Gemma's eye as a recipe, and pictures as it was taught to see them.

Shapes:
    b h w c     ComfyUI's IMAGE, float in [0, 1]
    b c s s     what the vision tower reads: a square, in [-1, 1]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..checkpoint.gemma import load_vision, read_vision_config
from ..checkpoint.load import Check, no_check
from ..checkpoint.reader import Checkpoint
from ..errors import LTX2Error
from ..networks.text.vision import GemmaVision
from ..packages import Image, rearrange
from ..recipe import Recipe, TextEncoderRecipe


@dataclass(frozen=True, repr=False)
class VisionRecipe(Recipe):
    """The vision tower and the projector in Gemma's `file`, placed as Gemma is."""

    kind = "vision tower"

    @classmethod
    def of(cls, text_encoder: TextEncoderRecipe) -> VisionRecipe:
        """Of the Gemma that the text encoder has. Raises ModelFileError where that cannot see."""
        file = text_encoder.file
        config = read_vision_config(Checkpoint.open(file.path))
        return cls(file, config, text_encoder.release, placement=text_encoder.placement)

    def build(self, check: Check = no_check, merge_later: str = "") -> GemmaVision:
        # No LoRA changes it.
        return load_vision(Checkpoint.open(self.file.path), self.config, check)


def picture_pixels(image: Tensor, size: int) -> Tensor:
    """`image` (1, h, w, 3) as (1, 3, size, size) in [-1, 1], fp32 on the CPU.

    First its long side becomes `size`, as in the release, then the other one: Gemma sees every picture as a square.

    Raises: LTX2Error unless `image` is one RGB picture of finite numbers.
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[0] != 1 or image.shape[3] != 3:
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise LTX2Error(
            f"an image to enhance a prompt by must be one RGB picture (1, height, width, 3); got {got}; pick one "
            "picture of a batch, and drop an alpha channel"
        )
    if not bool(torch.isfinite(image).all()):
        raise LTX2Error("every pixel of an image must be a finite number; got NaN or infinity; check it")
    picture = Image.fromarray(image[0].detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8).numpy())
    scale = size / max(picture.size)
    fitted = [max(1, round(side * scale)) for side in picture.size]
    picture = picture.resize((fitted[0], fitted[1]), Image.Resampling.BILINEAR)
    picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(picture)).float() / 255
    return rearrange((pixels - 0.5) / 0.5, "h w c -> 1 c h w")
