"""The feed-forward network of a block: D -> 4D -> D with tanh-GELU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
        return self._in_pieces(rows).view_as(x)

    def _in_pieces(self, rows: Tensor) -> Tensor:
        with brought(self, rows.device):
            return torch.cat([self._fed(part) for part in rows.split(FEED_ROWS)])

    def _fed(self, x: Tensor) -> Tensor:
        return self.linear_out(self.operations.activated(self.linear_in, x))


@contextmanager
def brought(network: nn.Module, device: torch.device) -> Iterator[None]:
    """In it, all weights are on `device`: those that a host keeps elsewhere come once, and not at each use."""
    stores = [store for module in network.modules() for store in (module._parameters, module._buffers)]
    elsewhere = [
        (store, name, tensor)
        for store in stores
        for name, tensor in store.items()
        if tensor is not None and tensor.device != device
    ]
    try:
        for store, name, tensor in elsewhere:
            store[name] = tensor.to(device)
        yield
    finally:
        for store, name, tensor in elsewhere:
            store[name] = tensor
