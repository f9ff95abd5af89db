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

    def forward(
        self, states: Sequence[Tensor], given: Sequence[StreamConditions], kept: Kept
    ) -> tuple[list[Tensor], dict[int, Incoming]]:
        """The (video, audio) states, and what is still to be added to them."""
        branches = [n for n in (0, 1) if given[n].is_updated and (kept[n] is None or len(kept[n]))]
        found = list(states)
        incoming: dict[int, Incoming] = {}
        # Branches of the same rows have their norms in common.
        for group in [branches] if kept == (None, None) else [[branch] for branch in branches]:
            modulated = [self._modulated(n, states[n], given[n], group, kept) for n in (0, 1)]
            for branch in group:
                heard, x, rows = self._heard(branch, modulated, given), states[branch], kept[branch]
                if rows is None:
                    incoming[branch] = heard
                else:
                    found[branch] = x.index_copy(0, rows, torch.addcmul(x[rows], heard.update, heard.gate.sums))
        return found, incoming

    def _modulated(self, n: int, x: Tensor, given: StreamConditions, branches: list[int], kept: Kept) -> list[Tensor]:
        """One modality's state, normed and modulated for each of these branches."""
        if branches and (rows := kept[branches[0]]) is not None:
            x = x[rows]
        table = (self.video_table, self.audio_table)[n][:4]
        rows = self.operations.rows(given.exchange_rows, table.to(given.exchange_rows))
        return self.operations.modulated(x, rows, [_PLACES[branch] for branch in branches], given.levels, self.eps)

    def _heard(self, branch: int, modulated: list[list[Tensor]], given: Sequence[StreamConditions]) -> Incoming:
        """What one modality hears of the other. Takes what it needs out of `modulated`, that nobody holds it longer."""
        attention = (self.audio_to_video, self.video_to_audio)[branch]
        rotaries = [given[n].exchange_rotary for n in (branch, 1 - branch)]
        update = attention.across(modulated[branch].pop(0), modulated[1 - branch].pop(0), *rotaries)
        gate, table = given[branch].exchange_gate, (self.video_table, self.audio_table)[branch][4:]
        return Incoming(update, self.operations.rows(gate, table.to(gate)))
