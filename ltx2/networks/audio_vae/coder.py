"""Encoder and decoder of the audio VAE.

Shapes: log-mel (B, 2, T, bins); latent (B, Z, t, f), each level but one halving both: T = ratio (t - 1) + 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ...config.audio_vae import AudioVAEConfig
from .blocks import CausalConv2d, Downsample, Level, Middle, Upsample, pixel_norm


class Encoder(nn.Module):
    """(B, 2, T, bins) -> (B, 2Z, t, f): mean and log-variance; T is rounded up to whole latent frames."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        widths = [config.base_channels * multiplier for multiplier in config.channel_multipliers]
        self.conv_in = CausalConv2d(config.in_channels, config.base_channels)
        self.down = nn.ModuleList()
        entering = config.base_channels
        for index, width in enumerate(widths):
            step = None if index == len(widths) - 1 else Downsample(width)
            self.down.append(Level([entering] + [width] * config.num_res_blocks, "downsample", step))
            entering = width
        self.mid = Middle(entering)
        self.conv_out = CausalConv2d(entering, 2 * config.latent_channels)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = self.conv_in(mel)
        for level in self.down:
            x = level(x)
        x = self.mid(x)
        return self.conv_out(F.silu(pixel_norm(x)))


class Decoder(nn.Module):
    """(B, Z, t, f) -> (B, 2, T, bins), exactly T = ratio (t - 1) + 1 frames."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        widths = [config.base_channels * multiplier for multiplier in config.channel_multipliers]
        self.conv_in = CausalConv2d(config.latent_channels, widths[-1])
        self.mid = Middle(widths[-1])
        levels = []
        entering = widths[-1]
        for index, width in reversed(list(enumerate(widths))):
            step = None if index == 0 else Upsample(width)
            levels.append(Level([entering] + [width] * (config.num_res_blocks + 1), "upsample", step))
            entering = width
        self.up = nn.ModuleList(reversed(levels))  # the checkpoint counts from the finest level, which runs last
        self.conv_out = CausalConv2d(entering, config.out_channels)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        x = self.mid(self.conv_in(latent))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(pixel_norm(x)))
