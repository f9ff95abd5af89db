"""The two modalities listen to each other, both from the state before either has changed.

Shapes: B batch, T tokens, D width, U unique noise levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...config.transformer import TransformerConfig
from ...layers.attention import Attention
from ...layers.operations import PLAIN, Incoming, Operations, Place
from .stream import StreamConditions

#: The rows of the batch that do audio-to-video, and video-to-audio; None for all.
Kept = tuple[Tensor | None, Tensor | None]
#: A state, and what is still to be added to it.
Heard = tuple[Tensor, Incoming | None]
#: Where the rows have the modulation of audio-to-video, and of video-to-audio.
_PLACES = (Place(shift=1, scale=0), Place(shift=3, scale=2))


class Exchange(nn.Module):
    """Audio-to-video and video-to-audio attention over time."""

    operations: Operations = PLAIN

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        video, audio = config.video.width, config.audio.width
        heads = {"num_heads": config.audio_num_heads, "head_dim": config.audio_head_dim}
        options = {"gated": config.gated, "eps": config.norm_eps}
        self.eps = config.norm_eps
        # Five rows: scale and shift (in this order) of either branch (_PLACES), and a gate.
        self.video_table = nn.Parameter(torch.empty(5, video))
        self.audio_table = nn.Parameter(torch.empty(5, audio))
        self.audio_to_video = Attention(video, audio, **heads, **options)
        self.video_to_audio = Attention(audio, video, **heads, **options)

    def forward(self, states: Sequence[Tensor], given: Sequence[StreamConditions], kept: Kept) -> list[Heard]:
        """What becomes of the (video, audio) states."""
        branches = [n for n in (0, 1) if given[n].is_updated and (kept[n] is None or len(kept[n]))]
        modulated = [self._modulated(n, states[n], given[n], branches) for n in (0, 1)] if branches else []
        found: list[Heard] = [(x, None) for x in states]
        for branch in branches:
            own, other = modulated[branch].pop(0), modulated[1 - branch].pop(0)
            found[branch] = self._heard(branch, states[branch], own, other, given, kept[branch])
        return found

    def _modulated(self, side: int, x: Tensor, given: StreamConditions, branches: list[int]) -> list[Tensor]:
        """One modality's state, normed and modulated for each of these branches."""
        table = (self.video_table, self.audio_table)[side][:4].to(given.exchange_rows)
        rows = self.operations.rows(given.exchange_rows, table)
        return self.operations.modulated(x, rows, [_PLACES[branch] for branch in branches], given.levels, self.eps)

    def _heard(
        self, branch: int, x: Tensor, own: Tensor, other: Tensor, given: Sequence[StreamConditions], kept: Tensor | None
    ) -> Heard:
        """What one modality hears of the other: still to be added, or added where some rows hear nothing."""
        attention = (self.audio_to_video, self.video_to_audio)[branch]
        if kept is not None:
            own, other = own[kept], other[kept]
        update = attention.across(own, other, given[branch].exchange_rotary, given[1 - branch].exchange_rotary)
        gate = given[branch].exchange_gate
        table = (self.video_table, self.audio_table)[branch][4:].to(gate)
        if kept is None:
            return x, Incoming(update, self.operations.rows(gate, table))
        return x.index_copy(0, kept, torch.addcmul(x[kept], update, gate + table)), None
