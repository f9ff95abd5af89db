"""The text features of LTX-2: all hidden states of Gemma, normalised, laid side by side and projected.

Two kinds exist: 2.0 normalises every layer by its range over the whole prompt and shares one projection; from 2.3 on
every token is normalised alone and each modality has its own projection.

Shapes: B batch, T tokens of the prompt (no padding), D Gemma's hidden size, L hidden states, V/A video/audio width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...config.text import ConnectorsConfig
from ...packages import rearrange

_EPS = 1e-6
_RANGE_SCALE = 8.0


def normalise_by_range(states: Tensor) -> Tensor:
    """8 (x - mean) / (max - min + eps) of (B, T, D, L), per prompt and layer over all its tokens and features."""
    low, high = torch.aminmax(rearrange(states, "b t d l -> b (t d) l"), dim=1, keepdim=True)
    spread = rearrange(high - low, "b one l -> b one 1 l")
    mean = states.mean(dim=(1, 2), keepdim=True)
    return _RANGE_SCALE * (states - mean) / (spread + _EPS)


def normalise_tokens(states: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) of (B, T, D, L), per token and layer over the features."""
    return states * torch.rsqrt(states.square().mean(dim=2, keepdim=True) + _EPS)


def side_by_side(states: Tensor) -> Tensor:
    """(B, T, D, L) to (B, T, D L): the layer runs fastest."""
    return rearrange(states, "b t d l -> b t (d l)")


class SharedProjection(nn.Module):
    """2.0: both connectors read the same features."""

    def __init__(self, config: ConnectorsConfig) -> None:
        super().__init__()
        self.both = nn.Linear(config.projection_width, config.video_dim, bias=False)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, D, L) to video and audio features (B, T, V), which are one tensor."""
        features = self.both(side_by_side(normalise_by_range(states.float())).to(states.dtype))
        return features, features


class SeparateProjections(nn.Module):
    """2.3 on: features of unit size, scaled to the width that each projection has."""

    def __init__(self, config: ConnectorsConfig) -> None:
        super().__init__()
        self.video = nn.Linear(config.projection_width, config.video_dim)
        self.audio = nn.Linear(config.projection_width, config.audio_dim)
        self.video_scale = math.sqrt(config.video_dim / config.hidden_size)
        self.audio_scale = math.sqrt(config.audio_dim / config.hidden_size)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, D, L) to video features (B, T, V) and audio features (B, T, A)."""
        features = side_by_side(normalise_tokens(states.float())).to(states.dtype)
        return self.video(features * self.video_scale), self.audio(features * self.audio_scale)


def projection(config: ConnectorsConfig) -> SharedProjection | SeparateProjections:
    """The projection that the checkpoint has."""
    return SeparateProjections(config) if config.has_separate_projections else SharedProjection(config)
