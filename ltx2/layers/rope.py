"""Rotary position embedding over one or more axes.

Every pair of features turns by an angle f * (2 * position / max_position - 1). Frequencies are laid out with the axis
running fastest (f0 t, f0 h, f0 w, f1 t, ...), the front is padded with pairs that do not turn, and the pairs are dealt
to the heads in order, so that different heads see different frequencies.

Shapes: B batch, T tokens, A axes, H heads, P pairs per head (half the head's features).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..packages import rearrange


@dataclass(frozen=True, eq=False)
class Rotary:
    """Cosines and sines (B, H, T, P) of the angles, and how features pair up.

    `interleaved` pairs adjacent features (x0 x1)(x2 x3); otherwise the first half of a head pairs with the second.
    """

    cos: Tensor
    sin: Tensor
    interleaved: bool = False

    def to(self, like: Tensor | torch.dtype) -> Rotary:
        """The same tables in a dtype, or on the device and in the dtype of a tensor."""
        return Rotary(self.cos.to(like), self.sin.to(like), self.interleaved)


@lru_cache(maxsize=16)
def frequencies(count: int, theta: float, *, float64: bool) -> Tensor:
    """theta^linspace(0, 1, count) * pi / 2, fp32.

    The grid is computed in float64 and rounded once: an fp32 power is off by 0.01 rad at the top frequency. Older
    configs (`frequencies_precision` absent) did compute it in fp32.
    """
    if float64:
        grid = np.power(theta, np.linspace(0.0, 1.0, count, dtype=np.float64)) * math.pi / 2
        return torch.from_numpy(grid).float()
    return theta ** torch.linspace(0.0, 1.0, count, dtype=torch.float32) * math.pi / 2


def rotary_table(
    positions: Tensor,
    max_positions: tuple[int, ...],
    *,
    dim: int,
    num_heads: int,
    theta: float,
    float64: bool = True,
    interleaved: bool = False,
) -> Rotary:
    """Tables for token positions (B, A, T), fp32, in the units of `max_positions` (one per axis)."""
    axes = positions.shape[1]
    grid = frequencies(dim // (2 * axes), float(theta), float64=float64).to(positions.device)
    limits = torch.tensor(max_positions, dtype=torch.float32, device=positions.device)
    fractions = rearrange(positions.float(), "b a t -> b t a") / limits
    angles = rearrange(grid[:, None] * (2 * fractions - 1)[:, :, None, :], "b t f a -> b t (f a)")
    padding = dim // 2 - angles.shape[-1]
    # Padding angles of zero gives cos 1 and sin 0: those pairs do not turn.
    # Stored token by token, as queries and keys are.
    angles = rearrange(F.pad(angles, (padding, 0)).contiguous(), "b t (h p) -> b h t p", h=num_heads)
    return Rotary(angles.cos(), angles.sin(), interleaved)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn the feature pairs of x (B, H, T, 2P): (a, b) -> (a cos - b sin, b cos + a sin)."""
    axis = -1 if rotary.interleaved else -2
    pairs = x.unflatten(-1, (-1, 2) if rotary.interleaved else (2, -1))
    turned = pairs * rotary.cos.unsqueeze(axis)
    a, b = pairs.select(axis, 0), pairs.select(axis, 1)
    turned.select(axis, 0).addcmul_(b, rotary.sin, value=-1)
    turned.select(axis, 1).addcmul_(a, rotary.sin)
    return turned.flatten(-2)
