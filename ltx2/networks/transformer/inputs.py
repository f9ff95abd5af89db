"""What goes into one forward call of the transformer.

Shapes: B batch, T tokens, S context tokens, C latent channels, A position axes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...layers.attention import AttentionBias, KeysValues
from ...layers.modulation import Levels
from ...layers.rope import Rotary


@dataclass(frozen=True, eq=False)
class StreamInput:
    """One modality's tokens.

    Attributes:
        latent: (B, T, C) noisy tokens, the same for all passes.
        sigma: (1,) noise level of the whole modality (0 when it is frozen); (B,) where there is one pass a batch.
        levels: Per-token timesteps (mask * sigma) as unique values.
        contexts: (B or 1, S, D) text context of this modality, for each prompt.
        rotary: Tables for self-attention, over all axes.
        exchange_rotary: Tables for the audio-video exchange, over time alone.
        attention_bias: Added to the self-attention logits; None attends everywhere.
        keyframes: (B or 1, T, 1), above 0 where a token belongs to a keyframe (2.5).
        is_updated: False leaves the stream as it is; the other one still sees it.
        text: Per block, keys and values of each context, where they are known: see Transformer.text.
    """

    latent: Tensor
    sigma: Tensor
    levels: Levels
    contexts: tuple[Tensor, ...]
    rotary: Rotary
    exchange_rotary: Rotary
    attention_bias: AttentionBias | None = None
    keyframes: Tensor | None = None
    is_updated: bool = True
    text: tuple[tuple[KeysValues, ...], ...] | None = None
