"""How strongly the clip and its references see each other: a group and a strength for each token, never a full table.

Shapes: T tokens of the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..tokens import TokenState

_CLIP = 0


@dataclass(frozen=True, eq=False)
class AttentionStrengths:
    """Weights of attention in logarithms, made for a few queries at a time (layers.attention.AttentionBias).

    Tokens of one group see each other wholly. The clip and a condition see each other by the condition's strength;
    different conditions do not see each other.

    Attributes:
        groups: (T,) 0 for the clip's own tokens, and a number for each condition.
        strengths: (T,) 0 to 1, of each condition's token; 1 for the clip's own.
    """

    groups: Tensor
    strengths: Tensor

    @classmethod
    def of(cls, state: TokenState) -> AttentionStrengths:
        """Of a state that nothing restricts yet: what is appended to it already goes on seeing each other."""
        groups = torch.full((state.latent.shape[1],), _CLIP)
        groups[state.num_targets :] = _CLIP + 1
        return cls(groups, torch.ones(len(groups)))

    def appended(self, count: int, strengths: Tensor | None = None) -> AttentionStrengths:
        """With another condition of `count` tokens and (count,) strengths; None is 1 for all."""
        strengths = torch.ones(count) if strengths is None else strengths.float().cpu()
        groups = torch.full((count,), int(self.groups.max()) + 1)
        return AttentionStrengths(torch.cat((self.groups, groups)), torch.cat((self.strengths, strengths)))

    def rows(self, start: int, stop: int, like: Tensor) -> Tensor:
        """(1, 1, stop - start, T) to be added to the logits of the queries [start, stop), as `like`.

        A weight w counts as log(w), so that half a weight is half of the attention.
        """
        groups = self.groups.to(like.device)
        lowest = torch.finfo(like.dtype).min
        logs = self.strengths.to(like.device).log().clamp_min(lowest)
        # The clip's own logarithm is 0: the sum is the condition's.
        rows = (logs[start:stop, None] + logs).clamp_min(lowest)
        conditions = groups != _CLIP
        rows.masked_fill_(conditions[start:stop, None] & conditions, lowest)
        rows.masked_fill_(groups[start:stop, None] == groups, 0.0)
        return rows.to(like.dtype)[None, None]
