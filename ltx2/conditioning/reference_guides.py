"""References as the user chains them, in pixels and samples: a control video for an IC-LoRA, the sound of a voice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LTX2Error
from ..geometry import (
    AUDIO_LATENTS_PER_SECOND,
    FRAMES_PER_LATENT,
    LIMIT_SECONDS,
    PIXELS_PER_LATENT,
    check_range,
    check_size,
)
from ..media.image import cover
from ..packages import rearrange
from .checks import check_mask
from .guides import Encode
from .references import ReferenceSound, ReferenceVideo
from .stage import Stage, prepare_frames, whole_latents

logger = logging.getLogger("ltx2")


@dataclass(frozen=True, eq=False)
class VideoReference:
    """A video that controls the clip through an IC-LoRA (depth, poses, edges, another clip).

    Attributes:
        images: (F, H, W, 3) in [0, 1]; frame by frame what the clip shows.
        strength: 0 (free) to 1 (kept as it is).
        attention: How strongly clip and reference see each other, 0 to 1.
        mask: (F or 1, H, W) in [0, 1], times `attention`, where and when; None is 1 everywhere.
        spatial: How many times smaller than the clip it is encoded.
        temporal: Of how many frames it has one: frames 0, 1, 1 + temporal, ...
    """

    images: Tensor
    strength: float = 1.0
    attention: float = 1.0
    mask: Tensor | None = None
    spatial: int = 1
    temporal: int = 1

    def __post_init__(self) -> None:
        check_range("the strength of a reference", self.strength, 0, 1)
        check_range("the attention strength of a reference", self.attention, 0, 1)
        for name, factor in (("spatial", self.spatial), ("temporal", self.temporal)):
            if factor < 1:
                raise LTX2Error(f"the {name} factor of a reference must be 1 or more; got {factor}")
        if self.mask is not None and (self.mask.ndim != 3 or len(self.mask) not in (1, len(self.images))):
            raise LTX2Error(
                f"the mask of a reference must be one picture, or one for each of its {len(self.images)} frames; got "
                f"{list(self.mask.shape)}: cut or repeat it"
            )
        if self.mask is not None:
            check_mask(self.mask)

    def __repr__(self) -> str:
        return f"<reference video of {len(self.images)} frames at 1/{self.spatial} size>"

    def size(self, stage: Stage) -> tuple[int, int, int]:
        """(frames, height, width) in pixels of what is encoded. Raises LTX2Error for sizes that have no such part."""
        step = PIXELS_PER_LATENT * self.spatial
        why = "" if self.spatial == 1 else f" for a reference at 1/{self.spatial} of the size"
        check_size("width", stage.width, step, why)
        check_size("height", stage.height, step, why)
        return len(self._chosen(stage)), stage.height // self.spatial, stage.width // self.spatial

    def encoded(self, encode: Encode, stage: Stage) -> ReferenceVideo:
        """The condition for the stage's latent; raises as `size` does."""
        count, height, width = self.size(stage)
        chosen = self._chosen(stage)
        covered, given = 1 + (count - 1) * self.temporal, len(self.images)
        if covered < given:
            logger.info("reference video: %d of its %d frames count in a clip of %d", covered, given, stage.frames)
        latent = encode(prepare_frames(self.images, chosen, width, height, stage.dtype)).float().cpu()
        strengths = self._strengths(chosen, width, height)
        return ReferenceVideo(latent, self.strength, self.spatial, self.temporal, strengths)

    def _chosen(self, stage: Stage) -> list[int]:
        """The frames that are encoded, 8n + 1 of them; what lasts longer than the clip says nothing about it."""
        available = min(len(self.images), stage.frames)
        chosen = [0, *range(1, available, self.temporal)]
        return chosen[: whole_latents(len(chosen))]

    def _strengths(self, chosen: Sequence[int], width: int, height: int) -> Tensor | None:
        """(tokens,) or (1,) of the reference; None where all are 1, which needs no table."""
        if self.mask is None:
            return None if self.attention == 1 else torch.tensor([self.attention])
        strengths = self.attention * _mask_of_tokens(self.mask, chosen, width, height)
        return None if bool((strengths == 1).all()) else strengths


@dataclass(frozen=True, eq=False)
class AudioReference:
    """The sound of a voice that the clip's sound shall have.

    Attributes:
        audio: An AUDIO, or an audio LATENT that is taken as it is.
    """

    audio: dict[str, Any]

    def __repr__(self) -> str:
        return "<reference sound>"

    @property
    def is_encoded(self) -> bool:
        return "samples" in self.audio

    @property
    def seconds(self) -> float:
        if self.is_encoded:
            return self.audio["samples"].shape[2] / AUDIO_LATENTS_PER_SECOND
        return self.audio["waveform"].shape[-1] / self.audio["sample_rate"]

    def encoded(self, encode: Callable[[dict[str, Any]], Tensor]) -> ReferenceSound:
        """The condition; `encode` makes a normalised latent [B, C, T, bins] of an AUDIO.

        Raises: LTX2Error where it is longer than 20 s: it has its positions before the clip begins.
        """
        if self.seconds > LIMIT_SECONDS:
            raise LTX2Error(
                f"a reference sound must fit into the {LIMIT_SECONDS} s that the model can place before a clip; got "
                f"{self.seconds:.2f} s: cut it, a few seconds of the voice are enough"
            )
        latent = self.audio["samples"] if self.is_encoded else encode(self.audio)
        return ReferenceSound(latent.float().cpu())


def _mask_of_tokens(mask: Tensor, chosen: Sequence[int], width: int, height: int) -> Tensor:
    """(tokens,): the mean of the (F or 1, H, W) `mask` over what each token of the chosen frames covers."""
    frames = [0] if len(mask) == 1 else list(chosen)
    planes = torch.cat([_reduced(mask[[frame]], width, height) for frame in frames])
    if len(frames) == 1:
        planes = planes.expand(len(chosen), -1, -1)
    # The first latent is one frame, each other one eight.
    rest = rearrange(planes[1:], "(f t) h w -> f t h w", t=FRAMES_PER_LATENT).mean(1)
    return torch.cat((planes[:1], rest)).flatten().clamp(0, 1)


def _reduced(plane: Tensor, width: int, height: int) -> Tensor:
    """(1, H, W) -> (1, height / 32, width / 32), cut as the pictures are."""
    return F.avg_pool2d(cover(plane.float()[:, None], width, height), PIXELS_PER_LATENT)[:, 0]
