"""Estimates of released models in a few coefficients, for what must say them at once: a page with a canvas on it.

They are straight lines through what the full estimates say of a large clip: within a tenth of it from 2000 tokens on.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ...config.transformer import TransformerConfig
from ...config.video_vae import VideoVAEConfig
from .transformer import Forward, forward_bytes
from .video import decode_bytes

_LARGE = Forward(tokens=(50000, 500))
_SIDE = 512
_FRAMES = 8


def bytes_per_token(config: TransformerConfig, dtype: torch.dtype) -> tuple[int, int]:
    """What one pass takes for each (video, audio) token."""
    video, audio = _LARGE.tokens
    at, more_video, more_audio = (
        forward_bytes(config, replace(_LARGE, tokens=tokens), dtype)
        for tokens in ((video, audio), (video + 1, audio), (video, audio + 1))
    )
    return more_video - at, more_audio - at


def bytes_per_pixel(config: VideoVAEConfig, dtype: torch.dtype) -> int:
    """What decoding takes for each pixel of each frame of a tile."""
    short, long = (decode_bytes(config, (frames, _SIDE, _SIDE), None, dtype) for frames in (81, 81 + _FRAMES))
    return round((long - short) / (_FRAMES * _SIDE * _SIDE))


def bytes_per_summed_pixel(config: VideoVAEConfig) -> int:
    """What tiles take beside that, for each pixel of all that the tiles of one time make together, in fp32."""
    return config.pixel_channels * torch.float32.itemsize
