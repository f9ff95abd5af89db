"""One forward call of the transformer, with what a sampling run keeps beside it. Counts are of numbers.

Shapes: T tokens of one clip, D width of a stream, S context tokens, U distinct noise levels, R AdaLN rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...config.transformer import StreamConfig, TransformerConfig
from ...layers.feed_forward import FEED_ROWS
from .stored import copied

# Around self-attention: queries, keys, values, and what they are made of or what they find.
_ATTEND = 4
# Around the attention to text: its input, queries, what they found, and that gated or added.
_READ = 4


@dataclass(frozen=True)
class Forward:
    """What one forward call is given.

    Attributes:
        tokens: (video, audio) tokens of one clip, appended ones included; 0 for a modality that is left out.
        levels: (video, audio) distinct noise levels among them.
        passes: Predictions of a step.
        at_once: How many of them run together.
        prompts: Contexts that they read.
        keeps_text: Whether their keys and values are made once a run (2.0), and not for each call.
    """

    tokens: tuple[int, int]
    levels: tuple[int, int] = (1, 1)
    clips: int = 1
    passes: int = 1
    at_once: int = 1
    prompts: int = 1
    context_length: int = 1024
    keeps_text: bool = False


def forward_bytes(config: TransformerConfig, given: Forward, dtype: torch.dtype) -> int:
    """A call and what the run keeps for it: rotary tables, latents, contexts, and keys and values of the text."""
    streams = [
        (stream, tokens, levels)
        for stream, tokens, levels in zip((config.video, config.audio), given.tokens, given.levels, strict=True)
        if tokens
    ]
    hidden = given.clips * sum(tokens * stream.width for stream, tokens, _ in streams)
    kept = sum(_kept(config, given, *one) for one in streams)
    # States of all passes; and where modalities exchange, those that have from those that have not.
    states = given.passes * hidden
    exchanged = given.at_once * hidden if len(streams) > 1 else 0
    peaks = [copied(config.num_rows * stream.width**2, dtype) for stream, _, _ in streams]
    for stream, tokens, _ in streams:
        own = given.at_once * given.clips * tokens * stream.width
        layer = copied(stream.width**2, dtype)
        peaks.append(states + _ATTEND * own + layer)
        peaks.append(states + _text(config, given, streams) + _stacked(given, stream) + _READ * own + layer)
        peaks.append(states + exchanged + _feed(own, stream.width) + copied(4 * stream.width**2, dtype))
        if exchanged:
            # The states' norms, the other modality's new state, what is modulated, and keys and values of it.
            peaks.append(states + exchanged + 2 * own + _memory(config, own // stream.width) + layer)
    return (kept + max(peaks)) * dtype.itemsize


def _feed(own: int, width: int) -> int:
    """Around the feed-forward network: its input and output, and four times as wide states of some tokens in between.

    In pieces, all outputs are there once more when they are joined.
    """
    rows = min(own // width, FEED_ROWS)
    return max(2 * own + 4 * rows * width, 3 * own if rows * width < own else 0)


def _memory(config: TransformerConfig, tokens: int) -> int:
    return 2 * tokens * config.audio_num_heads * config.audio_head_dim


def _kept(config: TransformerConfig, given: Forward, stream: StreamConfig, tokens: int, levels: int) -> int:
    """Of one stream, through the whole call."""
    width, context = stream.width, given.prompts * given.context_length
    tables = tokens * (width + config.audio_cross_attention_dim)
    latents = given.clips * tokens * stream.in_channels
    contexts = context * (config.caption_channels if config.caption_projection else stream.context_dim)
    if given.keeps_text:
        contexts += 2 * config.num_layers * context * width
    elif config.caption_projection:
        contexts += context * width
    # Rows of the call, and of a branch of a block.
    rows = levels * (config.num_rows + 4 + 1 + 4) * width
    return tables + latents + contexts + rows


def _text(config: TransformerConfig, given: Forward, streams: list[tuple[StreamConfig, int, int]]) -> int:
    """Keys and values of one block."""
    if given.keeps_text:
        return 0
    return 2 * given.prompts * given.context_length * sum(stream.width for stream, _, _ in streams)


def _stacked(given: Forward, stream: StreamConfig) -> int:
    """Keys and values of the text once for each of several passes that run together."""
    rows = given.at_once * given.clips if given.at_once > 1 else 0
    return 2 * rows * given.context_length * stream.width
