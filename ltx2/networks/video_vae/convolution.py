"""The one convolution of the video VAE: 3x3x3, time padded with repeated frames, space padded by a named mode.

Shapes: B batch, C channels, F frames, H height, W width; tensors are (B, C, F, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...config.video_vae import PaddingMode


@dataclass(frozen=True)
class Padding:
    """How a network pads: `mode` (a padding_mode of torch) in space; in time before the clip only if `is_causal`."""

    mode: PaddingMode
    is_causal: bool


class PaddedConv3d(nn.Module):
    """Keeps (F, H, W). Causal: frame f sees frames f-2..f; otherwise f-1..f+1. End frames stand in for missing ones."""

    def __init__(self, in_channels: int, out_channels: int, padding: Padding) -> None:
        super().__init__()
        self.is_causal = padding.is_causal
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=(0, 1, 1), padding_mode=padding.mode)

    def forward(self, x: Tensor) -> Tensor:
        first, last = x[:, :, :1], x[:, :, -1:]
        padded = [first, first, x] if self.is_causal else [first, x, last]
        return self.conv(torch.cat(padded, dim=2))
