"""Timestep conditioning of the decoder: how much noise its input carries scales and shifts its residual stages.

Shapes: D width of the embedding, C channels; tables are (rows, C), what they modulate is (B, C, F, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...layers.modulation import sinusoid

_SINUSOID_DIM = 256


class _Embedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(_SINUSOID_DIM, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(functional.silu(self.linear_1(x)))


class TimeEmbedder(nn.Module):
    """Timestep to modulation. The nesting is the checkpoint's: `time_embedder.timestep_embedder.linear_1`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = _Embedding(width)

    def forward(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        """(B,) -> (B, D)."""
        return self.timestep_embedder(sinusoid(timestep, _SINUSOID_DIM).to(dtype))


def modulation_rows(table: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
    """The rows of table (rows, C) + embedding (B, rows * C), each (B, C, 1, 1, 1)."""
    rows = table.to(embedding.dtype) + embedding.unflatten(1, table.shape)
    return rows[..., None, None, None].unbind(dim=1)
