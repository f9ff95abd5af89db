"""The latent upsampler."""

from __future__ import annotations

from math import prod

import torch

from ...config.upsampler import UpsamplerConfig
from .stored import copied

# A residual block's own state, its second convolution's input and output, and that one's norm.
_STATES = 4
_KERNEL = 27


def upsample_bytes(config: UpsamplerConfig, latents: tuple[int, int, int], dtype: torch.dtype) -> int:
    """Enlarging latents of (frames, height, width)."""
    width, small = config.mid_channels, config.mid_channels * prod(latents)
    spatial = config.spatial_factor
    if config.temporal_upsample:
        shuffled = 2 * spatial.numerator**2
        kernel = _KERNEL
    else:
        shuffled, kernel = spatial.numerator**2, _KERNEL // 3
    # The convolution's output, and its pixels in their places; a resampler then blurs and drops some of them.
    enlarging = max((1 + 2 * shuffled) * small, (2 + shuffled) * small + copied(kernel * width**2 * shuffled, dtype))
    large = shuffled * small // spatial.denominator**2
    # One of the doubled frames is left out, but its memory goes with the enlarged state only.
    hidden = large // (2 * latents[0]) if config.temporal_upsample else 0
    large -= hidden
    blocks = hidden + max(_STATES * large, (_STATES - 1) * large + copied(_KERNEL * width**2, dtype))
    return max(enlarging, blocks) * dtype.itemsize
