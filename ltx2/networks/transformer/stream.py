"""One modality inside one block: self-attention, text attention and feed-forward, each modulated by the noise level.

Shapes: B batch, T tokens, S context tokens, D width, U unique noise levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...config.transformer import StreamConfig, TransformerConfig
from ...layers.attention import Attention, AttentionBias, KeysValues
from ...layers.feed_forward import FeedForward
from ...layers.modulation import Levels
from ...layers.norms import rms_norm
from ...layers.operations import PLAIN, Incoming, Operations, Place, Rows
from ...layers.rope import Rotary

#: Where a branch's rows have what.
_PLACE, _GATE = Place(shift=0, scale=1), 2


@dataclass(frozen=True, eq=False)
class StreamConditions:
    """What stays the same for one stream through all blocks of a forward call.

    Attributes:
        rows: (U, R, D) AdaLN rows; each block adds its own table.
        contexts: (B or 1, S, D) for each prompt, what the blocks make keys and values of.
        text: Per block, keys and values of each prompt, where they are known already.
        prompt_rows: (B, 2, D) rows for text keys and values, or None.
        exchange_rows: (U, 4, D) rows for the exchange.
        exchange_gate: (B, 1, D) gate of what comes in from the other modality.
    """

    levels: Levels
    rows: Tensor
    contexts: tuple[Tensor, ...]
    prompt_rows: Tensor | None
    exchange_rows: Tensor | None
    exchange_gate: Tensor | None
    rotary: Rotary
    exchange_rotary: Rotary
    attention_bias: AttentionBias | None
    is_updated: bool
    text: tuple[tuple[KeysValues, ...], ...] | None


class Stream(nn.Module):
    """The part of a block that sees one modality and its text."""

    operations: Operations = PLAIN

    def __init__(self, config: TransformerConfig, stream: StreamConfig) -> None:
        super().__init__()
        width = stream.width
        heads = {"num_heads": stream.num_heads, "head_dim": stream.head_dim}
        options = {"gated": config.gated, "eps": config.norm_eps}
        self.eps = config.norm_eps
        self.table = nn.Parameter(torch.empty(config.num_rows, width))
        self.self_attention = Attention(width, width, **heads, **options)
        self.prompt_table = nn.Parameter(torch.empty(2, width)) if config.text_modulation else None
        self.text_attention = Attention(width, stream.context_dim, **heads, **options)
        self.feed_forward = FeedForward(width, bias=stream.ff_bias)

    def attend(self, x: Tensor, given: StreamConditions, kept: Tensor | None) -> Tensor:
        """Self-attention. `kept`: the rows that it is not left out of; None for all."""
        rows = self._rows(given, 0)
        update = self.self_attention(
            x,
            rotary=given.rotary,
            bias=given.attention_bias,
            kept=kept,
            prepare=lambda x: self._modulated(x, rows, given),
        )
        return self.operations.added(x, update, rows, _GATE, given.levels)

    def text(self, context: Tensor, prompt_rows: Tensor | None) -> KeysValues:
        """Keys and values of the text: made once for all passes that read it."""
        if self.prompt_table is not None:
            table = self.prompt_table.to(context)
            if prompt_rows is None:
                context = torch.addcmul(table[_PLACE.shift], context, 1 + table[_PLACE.scale])
            else:
                context = self.operations.shifted(context, self.operations.rows(prompt_rows, table), _PLACE)
        return self.text_attention.keys_values(context)

    def read(self, x: Tensor, given: StreamConditions, text: KeysValues) -> Tensor:
        """Text attention."""
        if self.prompt_table is None:
            return x + self.text_attention(rms_norm(x, self.eps), text)
        rows = self._rows(given, 6)
        update = self.text_attention(self._modulated(x, rows, given), text)
        return self.operations.added(x, update, rows, _GATE, given.levels)

    def feed(self, x: Tensor, given: StreamConditions, incoming: Incoming | None = None) -> Tensor:
        """The feed-forward network; what comes in from the other modality is added first."""
        rows = self._rows(given, 3)
        if incoming is None:
            hidden = self._modulated(x, rows, given)
        else:
            x, hidden = self.operations.added_modulated(x, incoming, rows, _PLACE, given.levels, self.eps)
            del incoming
        return self.operations.added(x, self.feed_forward(hidden), rows, _GATE, given.levels)

    def _rows(self, given: StreamConditions, first: int) -> Rows:
        """(shift, scale, gate) of a branch."""
        rows = slice(first, first + 3)
        return self.operations.rows(given.rows[:, rows], self.table[rows].to(given.rows))

    def _modulated(self, x: Tensor, rows: Rows, given: StreamConditions) -> Tensor:
        return self.operations.modulated(x, rows, [_PLACE], given.levels, self.eps)[0]
