"""The two modalities listen to each other, both from the state before either has changed.

Shapes: B batch, T tokens, D width, U unique noise levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...config.transformer import TransformerConfig
from ...layers.attention import Attention
from ...layers.modulation import modulate
from ...layers.norms import rms_norm
from ...packages import rearrange
from .stream import StreamConditions


class Exchange(nn.Module):
    """Audio-to-video and video-to-audio attention over time."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        video, audio = config.video.width, config.audio.width
        heads = {"num_heads": config.audio_num_heads, "head_dim": config.audio_head_dim}
        options = {"gated": config.gated, "eps": config.norm_eps}
        self.eps = config.norm_eps
        # Five rows: scale and shift (in this order) of the audio-to-video branch, then of the other, and a gate.
        self.video_table = nn.Parameter(torch.empty(5, video))
        self.audio_table = nn.Parameter(torch.empty(5, audio))
        self.audio_to_video = Attention(video, audio, **heads, **options)
        self.video_to_audio = Attention(audio, video, **heads, **options)

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        given_video: StreamConditions,
        given_audio: StreamConditions,
        kept: tuple[Tensor | None, Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """The updated (video, audio). `kept`: rows that do audio-to-video, and video-to-audio; None for all."""
        seen = _Side(rms_norm(video, self.eps), self.video_table, given_video)
        heard = _Side(rms_norm(audio, self.eps), self.audio_table, given_audio)
        if given_video.is_updated:
            video = _listen(video, self.audio_to_video, seen, heard, 0, kept[0])
        if given_audio.is_updated:
            audio = _listen(audio, self.video_to_audio, heard, seen, 1, kept[1])
        return video, audio


class _Side:
    """One modality's normed state, ready to be modulated for either branch."""

    def __init__(self, normed: Tensor, table: Tensor, given: StreamConditions) -> None:
        self.normed = normed
        scales, shifts = rearrange(
            given.exchange_rows + table[:4].to(given.exchange_rows), "u (n two) d -> two n u d", two=2
        )
        self.rows = tuple(zip(1 + scales, shifts, strict=True))
        self.gate = given.exchange_gate + table[4:].to(given.exchange_gate)
        self.given = given

    def modulated(self, branch: int, kept: Tensor | None) -> Tensor:
        normed = self.normed if kept is None else self.normed[kept]
        factor, shift = self.rows[branch]
        return modulate(normed, shift, factor, self.given.levels)


def _listen(x: Tensor, attention: Attention, own: _Side, other: _Side, branch: int, kept: Tensor | None) -> Tensor:
    if kept is not None and not len(kept):
        return x
    memory = attention.keys_values(other.modulated(branch, kept), other.given.exchange_rotary)
    update = attention(own.modulated(branch, kept), memory, rotary=own.given.exchange_rotary)
    if kept is None:
        return torch.addcmul(x, update, own.gate)
    return x.index_copy(0, kept, torch.addcmul(x[kept], update, own.gate))
