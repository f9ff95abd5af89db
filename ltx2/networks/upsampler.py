"""Latent upsamplers: twice (or 1.5 times) the height and width, or twice the frames, of a video latent.

Shapes: latent (B, C, F, H, W); one frame at a time: (B F, C, H, W).
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from ..config.upsampler import UpsamplerConfig
from ..errors import LTX2Error
from ..packages import rearrange

_GROUPS = 32
_BLUR_SIZE = 5


class LatentStatistics(Protocol):
    """Mean and deviation (C,) per latent channel, as the video VAE's `statistics` has them."""

    mean: torch.Tensor
    std: torch.Tensor


def upsample(
    network: Upsampler, latent: torch.Tensor, statistics: LatentStatistics, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Normalised latent (B, C, F, H, W) -> normalised latent, larger, in the dtype of `latent`.

    The network was trained on latents as the VAE's encoder writes them, so the normalisation is undone around it.
    `dtype` is what the network computes in (the latent's own where None).
    """
    mean, std = (vector.to(latent)[:, None, None, None] for vector in (statistics.mean, statistics.std))
    larger = network((latent * std + mean).to(dtype or latent.dtype)).to(latent.dtype)
    return (larger - mean) / std


class Upsampler(nn.Module):
    """(B, C, F, H, W) -> (B, C, F', H', W'), un-normalised latents on both sides."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.mid_channels
        self.initial_conv = nn.Conv3d(config.in_channels, width, kernel_size=3, padding=1)
        self.initial_norm = nn.GroupNorm(_GROUPS, width)
        self.res_blocks = nn.ModuleList(ResBlock(width) for _ in range(config.num_blocks_per_stage))
        self.upsampler = _enlarger(config)
        self.post_upsample_res_blocks = nn.ModuleList(ResBlock(width) for _ in range(config.num_blocks_per_stage))
        self.final_conv = nn.Conv3d(width, config.in_channels, kernel_size=3, padding=1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        if latent.ndim != 5 or latent.shape[1] != self.config.in_channels:
            raise LTX2Error(
                f"a video latent to upsample must be (batch, {self.config.in_channels}, frames, height, width); "
                f"got {tuple(latent.shape)}; use the upsampler that belongs to the checkpoint"
            )
        x = F.silu(self.initial_norm(self.initial_conv(latent)))
        for block in self.res_blocks:
            x = block(x)
        x = self.upsampler(x)
        for block in self.post_upsample_res_blocks:
            x = block(x)
        return self.final_conv(x)


class ResBlock(nn.Module):
    """act(x + norm2(conv2(act(norm1(conv1(x))))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, kernel_size=3, padding=1)
        self.norm1 = nn.GroupNorm(_GROUPS, channels)
        self.conv2 = nn.Conv3d(channels, channels, kernel_size=3, padding=1)
        self.norm2 = nn.GroupNorm(_GROUPS, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.norm1(self.conv1(x)))
        return F.silu(x + self.norm2(self.conv2(h)))


def _enlarger(config: UpsamplerConfig) -> nn.Module:
    if config.temporal_upsample:
        return TemporalShuffle(config.mid_channels, spatial=2 if config.spatial_upsample else 1)
    if config.rational_resampler:
        return RationalResampler(config)
    return SpatialShuffle(config.mid_channels)


class SpatialShuffle(nn.Sequential):
    """Twice the height and width: four times the channels, moved into 2 x 2 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, 4 * channels, kernel_size=3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, frames = _frames_to_batch(x)
        return _batch_to_frames(F.pixel_shuffle(super().forward(x), 2), frames)


class TemporalShuffle(nn.Sequential):
    """Twice the frames (and, with `spatial` 2, height and width) less the first, for it stands for one picture."""

    def __init__(self, channels: int, spatial: int) -> None:
        super().__init__(nn.Conv3d(channels, 2 * spatial**2 * channels, kernel_size=3, padding=1))
        self.spatial = spatial

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pattern = "b (c p q r) f h w -> b c (f p) (h q) (w r)"
        return rearrange(super().forward(x), pattern, p=2, q=self.spatial, r=self.spatial)[:, :, 1:]


class RationalResampler(nn.Module):
    """Height and width times numerator / denominator: shuffle up by the one, blur and drop down by the other."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.numerator, denominator = config.spatial_factor.as_integer_ratio()
        channels = config.mid_channels
        self.conv = nn.Conv2d(channels, self.numerator**2 * channels, kernel_size=3, padding=1)
        self.blur_down = BlurDown(denominator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, frames = _frames_to_batch(x)
        return _batch_to_frames(self.blur_down(F.pixel_shuffle(self.conv(x), self.numerator)), frames)


class BlurDown(nn.Module):
    """Every `stride`-th pixel after a binomial blur with the stored kernel; nothing at all for stride 1."""

    kernel: torch.Tensor

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("kernel", torch.empty(1, 1, _BLUR_SIZE, _BLUR_SIZE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1:
            return x
        channels = x.shape[1]
        kernel = self.kernel.to(x).expand(channels, -1, -1, -1)
        return F.conv2d(x, kernel, stride=self.stride, padding=_BLUR_SIZE // 2, groups=channels)


def _frames_to_batch(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    return rearrange(x, "b c f h w -> (b f) c h w"), x.shape[2]


def _batch_to_frames(x: torch.Tensor, frames: int) -> torch.Tensor:
    return rearrange(x, "(b f) c h w -> b c f h w", f=frames)
