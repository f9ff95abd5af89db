"""The feed-forward network of a block: D -> 4D -> D with tanh-GELU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Module):
    """linear_out(gelu_tanh(linear_in(x)))."""

    def __init__(self, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear_in = nn.Linear(dim, 4 * dim, bias=bias)
        self.linear_out = nn.Linear(4 * dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_out(F.gelu(self.linear_in(x), approximate="tanh"))
