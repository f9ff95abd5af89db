"""The one convolution of the video VAE: 3x3x3, time padded with repeated frames, space padded by a named mode.

Shapes: B batch, C channels, F frames, H height, W width; tensors are (B, C, F, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...config.video_vae import PaddingMode
from .past import Past


@dataclass(frozen=True)
class Padding:
    """How a network pads: `mode` (a padding_mode of torch) in space; in time before the clip only if `is_causal`."""

    mode: PaddingMode
    is_causal: bool


class PaddedConv3d(nn.Module):
    """Causal: frame f sees frames f-2..f; otherwise f-1..f+1. The clip's end frames stand in for missing ones."""

    def __init__(self, in_channels: int, out_channels: int, padding: Padding) -> None:
        super().__init__()
        self.is_causal = padding.is_causal
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=(0, 1, 1), padding_mode=padding.mode)

    def window(self, x: Tensor, before: Tensor | None, *, is_last: bool) -> Tensor:
        """All frames that are seen for a chunk: those of `before`, x, and where the clip `is_last` those after it.

        `before`: the two frames before x; None where the clip begins.
        """
        if before is None:
            before = x[:, :, :1].expand(-1, -1, min(x.shape[2], 1) * (2 if self.is_causal else 1), -1, -1)
        frames = [before, x]
        if is_last and not self.is_causal:
            frames.append((x if x.shape[2] else before)[:, :, -1:])
        return torch.cat(frames, dim=2)

    def forward(self, window: Tensor) -> Tensor:
        """(B, C, F + 2, H, W) -> (B, C, F, H, W); of windows that are shorter, no frames."""
        if window.shape[2] < 3:
            return window.new_empty(window.shape[0], self.conv.out_channels, 0, *window.shape[3:])
        return self.conv(window)

    def centres(self, window: Tensor) -> Tensor:
        """The frames of a window that those of its convolution stand for."""
        return window[:, :, 2:] if self.is_causal else window[:, :, 1:-1]

    def lag(self, *, is_last: bool) -> int:
        """How many of the frames got so far are not given yet."""
        return 0 if self.is_causal or is_last else 1

    def step(self, x: Tensor, past: Past) -> Tensor:
        """The convolution of a chunk as it is."""
        return self(self.window(x, past.swap(self, x), is_last=past.is_last))
