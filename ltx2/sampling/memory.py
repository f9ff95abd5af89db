"""How many passes of a step fit into a device's memory at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config.transformer import TransformerConfig
from ..tokens import TokenState

#: What a pass has alive at most, in hidden states of its tokens: the feed-forward network is four times as wide and its
#: activation makes a copy, beside the states and rotary tables (12.7, counted by benchmarks/transformer.py).
_HIDDEN_STATES = 13


def pass_bytes(config: TransformerConfig, states: tuple[TokenState | None, ...], dtype: torch.dtype) -> int:
    """About what one pass takes while it runs, weights not included."""
    widths = (config.video.width, config.audio.width)
    hidden = sum(
        state.latent.shape[0] * state.latent.shape[1] * width
        for state, width in zip(states, widths, strict=True)
        if state
    )
    return _HIDDEN_STATES * hidden * dtype.itemsize


def text_bytes(config: TransformerConfig, contexts: tuple[Tensor, ...], dtype: torch.dtype) -> int:
    """What the keys and values of video contexts (1, S, D) take in all blocks, with those of as many for audio."""
    widths = config.cross_attention_dim + config.audio_cross_attention_dim
    return sum(2 * config.num_layers * context.shape[1] * widths * dtype.itemsize for context in contexts)


def passes_that_fit(num_bytes: int, free: int | None) -> int | None:
    """How many passes of `num_bytes` each run together; None for all of them, as where memory is not told (CPU)."""
    return None if free is None else max(1, free // num_bytes)
