"""Mean and deviation of every latent channel: what the transformer sees is (z - mean) / std.

Shapes: (B, C, f, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Statistics(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def normalize(self, latent: Tensor) -> Tensor:
        return (latent - _per_channel(self.mean, latent)) / _per_channel(self.std, latent)

    def un_normalize(self, latent: Tensor) -> Tensor:
        return latent * _per_channel(self.std, latent) + _per_channel(self.mean, latent)


def _per_channel(values: Tensor, latent: Tensor) -> Tensor:
    return values.to(latent)[:, None, None, None]
