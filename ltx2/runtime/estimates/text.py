"""Gemma, the connectors and Gemma's eye. Counts are of numbers, not bytes, unless said.

Shapes: T tokens, D Gemma's hidden size, L hidden states, S context length, C width of a connector.
"""

from __future__ import annotations

import torch

from ...config.text import ConnectorsConfig, GemmaConfig
from ...config.vision import VisionConfig
from ...networks.text.tokenizer import MAX_TOKENS
from .stored import copied

_BYTES_PER_TOKEN = 3
_FLOAT = torch.float32.itemsize
# In a connector's attention: the block's state, its norm, queries, keys and values, what turning them takes, and the
# rotary tables. More than around its feed-forward network, which acts in place.
_CONNECTOR_STATES = 10
# Gemma's gated feed-forward: the gate, its activation, the other half and their product are never all there.
_WIDE_STATES = 3


def likely_tokens(text: str, most: int = MAX_TOKENS) -> int:
    """How many tokens a text has, before there is a tokenizer: rather too many, and no more than it may have.

    Gemma reads four to five bytes of prose at a time, in Latin, Cyrillic and Chinese writing alike.
    """
    return min(2 + len(text.encode()) // _BYTES_PER_TOKEN, most)


def prompt_bytes(gemma: GemmaConfig, connectors: ConnectorsConfig, num_tokens: int, dtype: torch.dtype) -> int:
    """Encoding a prompt of `num_tokens`: Gemma's hidden states, their projection, the connectors."""
    hidden = num_tokens * gemma.hidden_size
    states = gemma.num_states * hidden
    weights = copied(gemma.hidden_size * gemma.intermediate_size, dtype)
    wide = _WIDE_STATES * num_tokens * gemma.intermediate_size
    # All states one by one, then beside them as one tensor, which is what the connectors are given.
    read = states + max(states, 2 * hidden + max(wide, wide - num_tokens * gemma.intermediate_size + weights))
    connector = _CONNECTOR_STATES * MAX_TOKENS * connectors.video_dim
    connector += copied(4 * connectors.video_dim**2, dtype)
    return max(
        read * dtype.itemsize,
        states * dtype.itemsize + _projection(connectors, states, dtype),
        (states + connector) * dtype.itemsize,
    )


def _projection(config: ConnectorsConfig, states: int, dtype: torch.dtype) -> int:
    """Bytes of the features: normalised in fp32, beside a copy of the states where they are not, then projected."""
    separate = config.has_separate_projections
    # What the range needs at once beside the copy; where tokens are normalised each alone it is one less.
    normalised = states * _FLOAT * ((1 if separate else 2) + (dtype.itemsize != _FLOAT))
    weights = copied(config.projection_width * config.video_dim, dtype)
    # Where each modality has a projection, its features are scaled for it.
    projected = (states * (2 if separate else 1) + weights) * dtype.itemsize
    return max(normalised, projected)


def answer_bytes(config: GemmaConfig, question: int, answer: int, dtype: torch.dtype) -> int:
    """Reading a question of so many tokens, and writing an answer of at most so many."""
    num_global = config.layer_types.count("full_attention")
    per_token = 2 * config.num_key_value_heads * config.head_dim
    states = 2 * config.hidden_size + _WIDE_STATES * config.intermediate_size
    # While it reads, a layer that sees a window keeps what is behind it, too.
    reading = question * (config.num_layers * per_token + states)
    tokens = question + answer
    window = min(tokens, config.sliding_window)
    remembered = num_global * tokens + (config.num_layers - num_global) * window
    # Of one layer after the other keys and values are copied to get one token longer.
    writing = (remembered + tokens) * per_token
    weights = copied(config.hidden_size * config.intermediate_size, dtype)
    return (max(reading, writing) + weights) * dtype.itemsize


def vision_bytes(config: VisionConfig, dtype: torch.dtype) -> int:
    """One picture in the vision tower: a layer's two wide states, and the states before, in and behind it."""
    patches = config.patches_per_side**2
    wide, hidden = config.intermediate_size, config.hidden_size
    states = patches * (2 * wide + 4 * hidden)
    while_copied = patches * (wide + 5 * hidden) + copied(hidden * wide, dtype)
    return max(states, while_copied) * dtype.itemsize
