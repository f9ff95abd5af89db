"""The pieces that encoder and decoder of the audio VAE share: causal in time, symmetric in frequency.

Shapes: x (B, C, T, F): time, then mel (or latent) bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class CausalConv2d(nn.Module):
    """Convolution that pads zeros before the first frame only, and on both sides of the frequencies."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.past = kernel_size - 1
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = self.past // 2
        return self.conv(F.pad(x, (side, side, self.past, 0)))


def pixel_norm(x: torch.Tensor) -> torch.Tensor:
    """x / sqrt(mean(x^2 over channels) + 1e-6)."""
    return x / torch.sqrt(x.square().mean(dim=1, keepdim=True) + 1e-6)


class ResBlock(nn.Module):
    """x + conv2(act(norm(conv1(act(norm(x)))))), with a 1x1 shortcut where the widths differ."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = CausalConv2d(in_channels, out_channels)
        self.conv2 = CausalConv2d(out_channels, out_channels)
        same = in_channels == out_channels
        self.nin_shortcut = nn.Identity() if same else CausalConv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # No name for what the first convolution gives: it must be gone when the second one runs.
        h = F.silu(pixel_norm(self.conv1(F.silu(pixel_norm(x)))))
        h = self.conv2(h)
        return self.nin_shortcut(x) + h


class Middle(nn.Module):
    """The two blocks at the coarsest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels)
        self.block_2 = ResBlock(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block_2(self.block_1(x))


class Downsample(nn.Module):
    """(B, C, T, F) -> (B, C, ceil(T / 2), F / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pad(x, (0, 1, 2, 0)))


class Upsample(nn.Module):
    """(B, C, T, F) -> (B, C, 2T - 1, 2F)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv2d(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The first frame stands for itself alone (causality), so one of its two copies goes.
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))[:, :, 1:]


class Level(nn.Module):
    """The blocks of one resolution and, except at the last one, the step to the next.

    `step_name` ("downsample" or "upsample") is what the checkpoint calls that step.
    """

    def __init__(self, widths: list[int], step_name: str, step: nn.Module | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResBlock(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.step_name = step_name if step is not None else None
        if step is not None:
            self.add_module(step_name, step)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.block:
            x = block(x)
        return self.get_submodule(self.step_name)(x) if self.step_name else x
