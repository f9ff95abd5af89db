"""What guides are encoded for, and clips of pixels as the video VAE takes them.

Shapes:
    f h w 3         ComfyUI's IMAGE, float in [0, 1]
    1 3 f H W       what the video VAE encodes, float in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import FRAMES_PER_LATENT, PIXELS_PER_LATENT, pixel_frames
from ..media.image import cover
from ..packages import rearrange

# Frames that are resized at once, in fp32.
_FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class Stage:
    """The latent that is sampled next, as far as guides must know it.

    Attributes:
        grid: (F, H, W) of the video latent.
        crf: H.264 compression of the images that the release was trained with.
        continues: The clip was cut out of a longer one; its first latent is a full one.
        dtype: What the video VAE computes in.
    """

    grid: tuple[int, int, int]
    crf: int
    continues: bool = False
    dtype: torch.dtype = torch.float32

    @property
    def frames(self) -> int:
        return pixel_frames(self.grid[0])

    @property
    def height(self) -> int:
        return self.grid[1] * PIXELS_PER_LATENT

    @property
    def width(self) -> int:
        return self.grid[2] * PIXELS_PER_LATENT


def whole_latents(frames: int) -> int:
    """The largest 8n + 1 up to `frames`."""
    return (frames - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1


def prepare_frames(images: Tensor, chosen: Sequence[int], width: int, height: int, dtype: torch.dtype) -> Tensor:
    """The `chosen` frames of `images` (f, h, w, 3) as (1, 3, n, height, width), covering it, cropped around the centre.

    Video is not compressed as single images are. A few frames at a time are resized, in fp32.
    """
    pixels = torch.empty(1, 3, len(chosen), height, width, dtype=dtype)
    for start in range(0, len(chosen), _FRAMES_AT_ONCE):
        some = images[list(chosen[start : start + _FRAMES_AT_ONCE])].float()
        covered = cover(rearrange(some, "f h w c -> f c h w"), width, height)
        pixels[0, :, start : start + len(some)] = rearrange(covered * 2 - 1, "f c h w -> c f h w")
    return pixels
