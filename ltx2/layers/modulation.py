"""Adaptive layer norm: noise levels become rows of shifts, scales and gates.

A clip has few distinct noise levels (one in text to video, two with a conditioned first frame), so rows exist once per
*unique* level, and tokens know which row is theirs. A table per token would be gigabytes at full size.

Shapes: B batch, T tokens, D width, U unique levels, R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MAX_SPANS = 16
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Levels:
    """The distinct timesteps (U,) of a batch of tokens, and the spans of the flattened (B T) tokens that have them.

    `spans` is None where one level holds for all; otherwise each span is a slice with one row number, or with a
    number for each of its tokens. The tokens may recur, pass after pass.
    """

    values: Tensor
    spans: tuple[tuple[slice, int | Tensor], ...] | None = None

    @classmethod
    def of(cls, timesteps: Tensor) -> Levels:
        """The levels of per-token timesteps (B, T)."""
        values, index = torch.unique(timesteps.flatten(), return_inverse=True)
        return cls(values, None if len(values) == 1 else _spans(index))

    def to(self, device: torch.device) -> Levels:
        """The same levels on a device."""
        if self.spans is None:
            return Levels(self.values.to(device))
        spans = tuple((span, row.to(device) if isinstance(row, Tensor) else row) for span, row in self.spans)
        return Levels(self.values.to(device), spans)

    def scaled(self, factor: float) -> Levels:
        """The same tokens at `factor` times these levels: masks become timesteps when sigma is known."""
        return Levels(self.values * factor, self.spans)

    @cached_property
    def index(self) -> Tensor | None:
        """The row number of each of the (B T) tokens, int32; None where one level holds for all."""
        if self.spans is None:
            return None
        like = {"dtype": torch.int32, "device": self.values.device}
        return torch.cat(
            [
                row.to(**like) if isinstance(row, Tensor) else torch.full((span.stop - span.start,), row, **like)
                for span, row in self.spans
            ]
        )

    def by_pass(self, x: Tensor) -> Tensor:
        """x (P B, T, D), whose tokens recur P times, as (P, B T, D)."""
        return x.view(-1, self.spans[-1][0].stop, x.shape[-1])


def _spans(index: Tensor) -> tuple[tuple[slice, int | Tensor], ...]:
    borders = (torch.nonzero(index[1:] != index[:-1]).flatten() + 1).tolist()
    if len(borders) < _MAX_SPANS:
        starts = [0, *borders]
        return tuple(
            (slice(start, stop), int(index[start])) for start, stop in zip(starts, [*borders, len(index)], strict=True)
        )
    starts = range(0, len(index), _CHUNK)
    return tuple((slice(start, min(start + _CHUNK, len(index))), index[start : start + _CHUNK]) for start in starts)


def add_scaled(base: Tensor, x: Tensor, factor: Tensor, levels: Levels) -> Tensor:
    """base + factor * x for x (B, T, D); rows (U, D) go by each token's level: `factor` is such, and `base` may be."""
    if levels.spans is None:
        return torch.addcmul(base, x, factor)
    out = torch.empty_like(x)
    tokens, flat, is_row = levels.by_pass(x), levels.by_pass(out), base.dim() < x.dim()
    for span, row in levels.spans:
        first = base[row] if is_row else levels.by_pass(base)[:, span]
        torch.addcmul(first, tokens[:, span], factor[row], out=flat[:, span])
    return out


class AdaLayerNorm(nn.Module):
    """Timesteps (U,) -> rows (U, R, D), and the embedding (U, D) they come from."""

    def __init__(self, dim: int, num_rows: int) -> None:
        super().__init__()
        self.num_rows = num_rows
        self.linear_1 = nn.Linear(256, dim)
        self.linear_2 = nn.Linear(dim, dim)
        self.linear_rows = nn.Linear(dim, num_rows * dim)

    def forward(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        embedded = self.linear_2(F.silu(self.linear_1(sinusoid(timesteps).to(dtype))))
        return self.linear_rows(F.silu(embedded)).unflatten(-1, (self.num_rows, -1)), embedded


def sinusoid(timesteps: Tensor, dim: int = 256) -> Tensor:
    """(U,) -> (U, dim): cosines, then sines, of t * exp(-ln(10000) i / (dim / 2)), fp32."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half)
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
