"""BigVGAN's activation: snake at twice the rate between two low-pass filters, so that it adds no aliases.

Shapes: x (B, C, samples). Filters come from the checkpoint, (1, 1, TAPS).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

TAPS = 12


class SnakeBeta(nn.Module):
    """x + sin^2(e^alpha x) / (e^beta + 1e-9), one alpha and beta per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frequency = self.alpha.to(x).exp()[:, None]
        amplitude = 1 / (self.beta.to(x).exp()[:, None] + 1e-9)
        # Fused: at full size x is the largest tensor of the vocoder, and every temporary is as large again.
        return torch.addcmul(x, amplitude, torch.sin(x * frequency).square())


class Upsample(nn.Module):
    """Twice the samples: zeros between them, low-pass, gain 2; edges continue by replication."""

    filter: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.empty(1, 1, TAPS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels, margin = x.shape[1], TAPS // 2 - 1
        x = F.pad(x, (margin, margin), mode="replicate")
        filters = (2 * self.filter.to(x)).expand(channels, -1, -1)
        x = F.conv_transpose1d(x, filters, stride=2, groups=channels)
        return x[..., 3 * margin : -3 * margin]  # 2 * margin come from the padding, margin from the filter's length


class LowPass(nn.Module):
    """Half the samples after a low-pass; edges continue by replication."""

    filter: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.empty(1, 1, TAPS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        x = F.pad(x, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(x, self.filter.to(x).expand(channels, -1, -1), stride=2, groups=channels)


class Downsample(nn.Module):
    """The low-pass under the name that the checkpoint gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lowpass(x)


class AntiAliasedSnake(nn.Module):
    """Upsample, snake, downsample: the length does not change."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = Upsample()
        self.act = SnakeBeta(channels)
        self.downsample = Downsample()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.downsample(self.act(self.upsample(x)))
