"""The feed-forward network of a block: D -> 4D -> D with tanh-GELU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .operations import PLAIN, Operations

#: Tokens at a time: their hidden states, four times as wide, would else be most of what a forward call holds.
FEED_ROWS = 8192


class FeedForward(nn.Module):
    """linear_out(gelu_tanh(linear_in(x)))."""

    operations: Operations = PLAIN

    def __init__(self, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear_in = nn.Linear(dim, 4 * dim, bias=bias)
        self.linear_out = nn.Linear(4 * dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        if len(rows) <= FEED_ROWS:
            return self._fed(x)
        return torch.cat([self._fed(part) for part in rows.split(FEED_ROWS)]).view_as(x)

    def _fed(self, x: Tensor) -> Tensor:
        return self.linear_out(self.operations.activated(self.linear_in, x))
