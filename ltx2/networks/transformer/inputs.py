"""What goes into one forward call of the transformer.

Shapes: B batch, T tokens, S context tokens, C latent channels, A position axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...layers.attention import AttentionBias
from ...layers.modulation import Levels
from ...layers.rope import Rotary


@dataclass(frozen=True, eq=False)
class StreamInput:
    """One modality's tokens.

    Attributes:
        latent: (B, T, C) noisy tokens.
        sigma: (B,) or (1,) noise level of the whole modality (0 when it is frozen).
        levels: Per-token timesteps (mask * sigma) as unique values.
        context: (B, S, D) text context of this modality.
        rotary: Tables for self-attention, over all axes.
        exchange_rotary: Tables for the audio-video exchange, over time alone.
        attention_bias: Added to the self-attention logits; None attends everywhere.
        keyframes: (B or 1, T, 1), above 0 where a token belongs to a keyframe (2.5).
        is_updated: False leaves the stream as it is; the other one still sees it.
    """

    latent: Tensor
    sigma: Tensor
    levels: Levels
    context: Tensor
    rotary: Rotary
    exchange_rotary: Rotary
    attention_bias: AttentionBias | None = None
    keyframes: Tensor | None = None
    is_updated: bool = True


ALL_BLOCKS = None


@dataclass(frozen=True)
class Perturbation:
    """What one batch element leaves out: blocks by number, or ALL_BLOCKS.

    Attributes:
        video_self_attention: Blocks whose video self-attention passes its values through.
        audio_self_attention: Likewise for audio.
        audio_to_video: Blocks in which video does not listen to audio.
        video_to_audio: Blocks in which audio does not look at video.
    """

    video_self_attention: frozenset[int] | None = frozenset()
    audio_self_attention: frozenset[int] | None = frozenset()
    audio_to_video: frozenset[int] | None = frozenset()
    video_to_audio: frozenset[int] | None = frozenset()

    def skips(self, branch: str, block: int) -> bool:
        blocks = getattr(self, branch)
        return blocks is ALL_BLOCKS or block in blocks


#: Cross-modal attention off everywhere: the two modalities do not know of each other.
ISOLATED = Perturbation(audio_to_video=ALL_BLOCKS, video_to_audio=ALL_BLOCKS)


@dataclass(frozen=True)
class Perturbations:
    """One Perturbation per batch element; none at all means that nothing is left out."""

    elements: tuple[Perturbation, ...] = field(default=())

    @classmethod
    def of(cls, elements: Iterable[Perturbation]) -> Perturbations:
        elements = tuple(elements)
        return cls(elements if any(element != Perturbation() for element in elements) else ())

    def skipped(self, branch: str, block: int) -> Tensor | None:
        """(B,) booleans on the CPU of the elements that leave `branch` out of block number `block`; None for none."""
        skipped = [element.skips(branch, block) for element in self.elements]
        return torch.tensor(skipped) if any(skipped) else None


def attention_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Attention strengths (B, Q, T) in [0, 1] as a bias (B, 1, Q, T) on the logits: log(m), and out of reach at 0."""
    lowest = torch.finfo(dtype).min
    return torch.where(mask > 0, mask.clamp_min(torch.finfo(mask.dtype).tiny).log(), lowest).to(dtype)[:, None]
