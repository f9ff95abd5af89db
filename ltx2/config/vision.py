"""Config of Gemma 3's eye: the SigLIP vision tower and what makes soft tokens of its output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelFileError
from .section import Section, parse


@dataclass(frozen=True)
class VisionConfig:
    """The defaults are those of the released 12B, for single files hold no config.

    Attributes:
        image_size: pixels on a side of the square that a picture is scaled to.
        num_tokens: soft tokens of one picture, a square number.
        text_hidden_size: Gemma's, which they are as wide as.
    """

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_layers: int = 27
    num_heads: int = 16
    image_size: int = 896
    patch_size: int = 14
    norm_eps: float = 1e-6
    num_tokens: int = 256
    text_hidden_size: int = 3840

    @property
    def patches_per_side(self) -> int:
        return self.image_size // self.patch_size

    @property
    def tokens_per_side(self) -> int:
        return math.isqrt(self.num_tokens)

    @classmethod
    def from_huggingface(cls, raw: Mapping[str, Any], text_hidden_size: int, source: str) -> VisionConfig:
        """Read the `vision_config` of Gemma's config.json; absent keys have transformers' defaults.

        Raises ModelFileError, which names `source`, where there is none or it is another model's.
        """
        if "vision_config" not in raw:
            raise ModelFileError(
                f"{source} must describe Gemma's vision tower; its config.json has no vision_config: choose the folder "
                "google/gemma-3-12b-it-qat-q4_0-unquantized, or leave the image out"
            )
        config = parse(cls, raw["vision_config"], "vision_config", source)
        num_tokens = raw.get("mm_tokens_per_image", cls.num_tokens)
        config = replace(config, num_tokens=num_tokens, text_hidden_size=text_hidden_size)
        if not isinstance(num_tokens, int) or num_tokens < 1 or config.tokens_per_side**2 != num_tokens:
            raise ModelFileError(
                f"{source}: mm_tokens_per_image must be a square number; got {num_tokens!r}; get the file anew"
            )
        if config.patches_per_side % config.tokens_per_side or config.hidden_size % config.num_heads:
            raise ModelFileError(
                f"{source}: the tower's {config.patches_per_side} patches on a side must be a multiple of the "
                f"{config.tokens_per_side} tokens, and its width {config.hidden_size} of the {config.num_heads} heads; "
                "get the file anew"
            )
        return config

    @classmethod
    def from_section(cls, section: Section) -> VisionConfig:
        """Read the vision tower's part of a config.json."""
        section.expect(model_type="siglip_vision_model", hidden_act="gelu_pytorch_tanh", num_channels=3)
        config = cls(
            hidden_size=section.take("hidden_size", 768, least=1),
            intermediate_size=section.take("intermediate_size", 3072, least=1),
            num_layers=section.take("num_hidden_layers", 12, least=1),
            num_heads=section.take("num_attention_heads", 12, least=1),
            image_size=section.take("image_size", 224, least=1),
            patch_size=section.take("patch_size", 16, least=1),
            norm_eps=section.take("layer_norm_eps", cls.norm_eps),
        )
        # Training, serialisation and a pooling head that Gemma does not ask.
        section.ignore("*")
        return config
