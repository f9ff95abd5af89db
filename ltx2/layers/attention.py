"""Multi-head attention as LTX-2 has it: RMS-normed queries and keys, rotary positions, gated heads.

Shapes: B batch, T query tokens, S key tokens, D width of the query stream, I inner width (H heads x C features).
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .norms import RMSNorm
from .rope import Rotary, rotate

#: Queries at a time where there is a bias: no bias over all pairs of tokens is ever in memory.
_BIASED_QUERIES = 1024


class AttentionBias(Protocol):
    """How strongly tokens see each other: a bias on the logits of self-attention, asked for a few queries at a time."""

    def rows(self, start: int, stop: int, like: Tensor) -> Tensor:
        """The bias (B or 1, 1, stop - start, T) of the queries [start, stop), on the device and in the dtype of `like`.

        log(strength): 0 changes nothing, the dtype's lowest number hides a token.
        """
        ...


class Attention(nn.Module):
    """Queries from `x`, keys and values from `context`.

    Queries and keys are normalised over the whole inner width, all heads together, before they are rotated. Gated
    attention scales every head by 2 * sigmoid(to_gate(x)).
    """

    def __init__(
        self, dim: int, context_dim: int, *, num_heads: int, head_dim: int, gated: bool = False, eps: float = 1e-6
    ) -> None:
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, inner)
        self.to_k = nn.Linear(context_dim, inner)
        self.to_v = nn.Linear(context_dim, inner)
        self.query_norm = RMSNorm(inner, eps)
        self.key_norm = RMSNorm(inner, eps)
        self.to_gate = nn.Linear(dim, num_heads) if gated else None
        self.to_out = nn.Linear(inner, dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        rotary: Rotary | None = None,
        key_rotary: Rotary | None = None,
        bias: AttentionBias | None = None,
        skipped: Tensor | None = None,
    ) -> Tensor:
        """Attend from x (B, T, D) to context (B, S, ...), or to x itself.

        Args:
            rotary: turns the queries, and the keys too unless `key_rotary` is given.
            bias: added to the logits (self-attention only).
            skipped: (B,) booleans; where true the values pass through in place of the attention over them
                (self-attention only). The gate and `to_out` still apply.
        """
        context = x if context is None else context
        value = self._heads(self.to_v(context))
        if skipped is None:
            attended = self._attend(x, context, value, rotary, key_rotary, bias)
        elif skipped.all():
            attended = value
        else:
            kept = torch.nonzero(~skipped).squeeze(1)
            part = self._attend(x[kept], context[kept], value[kept], _rows(rotary, kept), None, bias)
            attended = value.index_copy(0, kept, part)
        if self.to_gate is not None:
            attended = attended * rearrange(2 * torch.sigmoid(self.to_gate(x)), "b t h -> b h t 1")
        return self.to_out(rearrange(attended, "b h t c -> b t (h c)"))

    def _attend(
        self,
        x: Tensor,
        context: Tensor,
        value: Tensor,
        rotary: Rotary | None,
        key_rotary: Rotary | None,
        bias: AttentionBias | None,
    ) -> Tensor:
        query = self._heads(self.query_norm(self.to_q(x)))
        key = self._heads(self.key_norm(self.to_k(context)))
        if rotary is not None:
            query = rotate(query, rotary)
            key = rotate(key, key_rotary or rotary)
        if bias is None:
            return F.scaled_dot_product_attention(query, key, value)
        return _biased(query, key, value, bias)

    def _heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b t (h c) -> b h t c", h=self.num_heads)


def _biased(query: Tensor, key: Tensor, value: Tensor, bias: AttentionBias) -> Tensor:
    """Attention of a few queries at a time. The clips of a batch recur in it, pass after pass."""
    out = torch.empty_like(query)
    for start in range(0, query.shape[2], _BIASED_QUERIES):
        stop = min(start + _BIASED_QUERIES, query.shape[2])
        rows = bias.rows(start, stop, query)
        rows = rows.repeat(len(query) // len(rows), 1, 1, 1)
        out[:, :, start:stop] = F.scaled_dot_product_attention(query[:, :, start:stop], key, value, attn_mask=rows)
    return out


def _rows(rotary: Rotary | None, kept: Tensor) -> Rotary | None:
    if rotary is None or rotary.cos.shape[0] == 1:
        return rotary
    return Rotary(rotary.cos[kept], rotary.sin[kept], rotary.interleaved)
