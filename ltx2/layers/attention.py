"""Multi-head attention as LTX-2 has it: RMS-normed queries and keys, rotary positions, gated heads.

Shapes: B batch, T query tokens, S key tokens, D width of the query stream, I inner width (H heads x C features).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..packages import rearrange
from .norms import RMSNorm
from .operations import PLAIN, Operations, Turned
from .rope import Rotary

#: Queries at a time where there is a bias: no bias over all pairs of tokens is ever in memory.
_BIASED_QUERIES = 1024


class AttentionBias(Protocol):
    """How strongly tokens see each other: a bias on the logits of self-attention, asked for a few queries at a time."""

    def rows(self, start: int, stop: int, like: Tensor) -> Tensor:
        """The bias (B or 1, 1, stop - start, T) of the queries [start, stop), on the device and in the dtype of `like`.

        log(strength): 0 changes nothing, the dtype's lowest number hides a token.
        """
        ...


class KeysValues(NamedTuple):
    """What queries attend to: keys and values (B, H, S, C), keys normalised and rotated."""

    keys: Tensor
    values: Tensor

    @classmethod
    def stacked(cls, memories: Sequence[KeysValues], num_clips: int) -> KeysValues:
        """One after another, each for all the clips of a batch: (P B, H, S, C)."""
        expanded = [[part.expand(num_clips, -1, -1, -1) for part in memory] for memory in memories]
        return cls(*expanded[0]) if len(memories) == 1 else cls(*map(torch.cat, zip(*expanded, strict=True)))


class Attention(nn.Module):
    """Queries from one sequence, keys and values from another, or from the same.

    Queries and keys are normalised over the whole inner width, all heads together, before they are rotated. Gated
    attention scales every head by 2 * sigmoid(to_gate(x)).
    """

    #: What queries (B, H, T, C) find among keys and values (B, H, S, C). Set from outside: attention_backends.
    kernel: Callable[[Tensor, Tensor, Tensor], Tensor] = staticmethod(F.scaled_dot_product_attention)
    operations: Operations = PLAIN

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
        memory: KeysValues | None = None,
        *,
        rotary: Rotary | None = None,
        bias: AttentionBias | None = None,
        kept: Tensor | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Attend from x (B, T, D) to `memory`, or to x itself.

        Args:
            rotary: turns queries and keys (self-attention only).
            bias: added to the logits (self-attention only).
            kept: the rows of the batch that attend; in the others the values pass through in place of the attention
                over them (self-attention only). The gate and `to_out` still apply. None for all.
            prepare: what is done to x first. Nobody holds its result while queries meet keys, as a caller would.
        """
        x = x if prepare is None else prepare(x)
        gate = None if self.to_gate is None else self.to_gate(x)
        if memory is not None:
            return self._out(self._found(self._heads(self.query_norm(self.to_q(x))), memory, bias), gate)
        value = self._heads(self.to_v(x))
        x = x if kept is None else x[kept]
        if not len(x):
            return self._out(value, gate)
        several = [Turned(self.to_q(x), self.query_norm, rotary), Turned(self.to_k(x), self.key_norm, rotary)]
        del x
        query, key = self.operations.heads(several, self.num_heads)
        attended = self._found(query, KeysValues(key, value if kept is None else value[kept]), bias)
        del query, key
        if kept is not None:
            attended = value.index_copy(0, kept, attended)
        del value
        return self._out(attended, gate)

    def across(self, x: Tensor, context: Tensor, rotary: Rotary, context_rotary: Rotary) -> Tensor:
        """Attend from x (B, T, D) to a context (B, S, ...) that has positions of its own."""
        gate = None if self.to_gate is None else self.to_gate(x)
        several = [Turned(self.to_q(x), self.query_norm, rotary)]
        several.append(Turned(self.to_k(context), self.key_norm, context_rotary))
        value = self._heads(self.to_v(context))
        del x, context
        query, key = self.operations.heads(several, self.num_heads)
        attended = self._found(query, KeysValues(key, value), None)
        del query, key, value
        return self._out(attended, gate)

    def keys_values(self, context: Tensor) -> KeysValues:
        """What queries attend to in a context (B, S, ...) without positions."""
        return KeysValues(self._heads(self.key_norm(self.to_k(context))), self._heads(self.to_v(context)))

    def _heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b t (h c) -> b h t c", h=self.num_heads)

    def _found(self, query: Tensor, memory: KeysValues, bias: AttentionBias | None) -> Tensor:
        return self.kernel(query, *memory) if bias is None else _biased(query, memory, bias)

    def _out(self, attended: Tensor, gate: Tensor | None) -> Tensor:
        attended = self.operations.joined(attended, gate)
        return self.to_out(attended)


def _biased(query: Tensor, memory: KeysValues, bias: AttentionBias) -> Tensor:
    """Attention of a few queries at a time. The clips of a batch recur in it, pass after pass."""
    out = torch.empty_like(query)
    for start in range(0, query.shape[2], _BIASED_QUERIES):
        stop = min(start + _BIASED_QUERIES, query.shape[2])
        rows = bias.rows(start, stop, query)
        if len(rows) > 1:
            rows = rows.repeat(len(query) // len(rows), 1, 1, 1)
        out[:, :, start:stop] = F.scaled_dot_product_attention(query[:, :, start:stop], *memory, attn_mask=rows)
    return out
