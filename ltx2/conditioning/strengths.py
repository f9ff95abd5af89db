"""How strongly the clip and its conditions see each other: a strength for each token, never a table of all pairs.

Shapes: T tokens of the state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..tokens import TokenState


@dataclass(frozen=True, eq=False)
class AttentionStrengths:
    """Weights of attention in logarithms, made for a few queries at a time (layers.attention.AttentionBias).

    The clip sees itself wholly, and so does each condition. The clip and a condition see each other by the condition's
    strength; different conditions do not see each other.

    Attributes:
        edges: Where the clip (from 0 on) and each condition begin, and where the last one ends.
        strengths: (T,) 0 to 1, of each condition's token; 1 for the clip's own.
    """

    edges: tuple[int, ...]
    strengths: Tensor

    @classmethod
    def of(cls, state: TokenState) -> AttentionStrengths:
        """Of a state that nothing restricts yet: what is appended to it already goes on seeing each other."""
        count = state.latent.shape[1]
        edges = (0, count) if count == state.num_targets else (0, state.num_targets, count)
        return cls(edges, torch.ones(count))

    def appended(self, count: int, strengths: Tensor | None = None) -> AttentionStrengths:
        """With another condition of `count` tokens and (count,) strengths; None is 1 for all."""
        strengths = torch.ones(count) if strengths is None else strengths.float()
        edges = (*self.edges, self.edges[-1] + count)
        return AttentionStrengths(edges, torch.cat((self.strengths, strengths)))

    def taken(self, index: Tensor) -> AttentionStrengths:
        """Of the tokens (N,) of a rising index alone."""
        edges = torch.searchsorted(index, torch.tensor(self.edges)).tolist()
        return AttentionStrengths(tuple(edges), self.strengths[index])

    def to(self, device: torch.device) -> AttentionStrengths:
        return replace(self, strengths=self.strengths.to(device))

    def rows(self, start: int, stop: int, like: Tensor) -> Tensor:
        """(1, 1, stop - start, T) to be added to the logits of the queries [start, stop), as `like`.

        A weight w counts as log(w), so that half a weight is half of the attention.
        """
        hidden = torch.finfo(like.dtype).min
        logs = self.strengths.to(like.device).log().clamp_min(hidden).to(like.dtype)
        rows = like.new_full((stop - start, len(logs)), hidden)
        clip = self.edges[1]
        for first, last in pairwise(self.edges):
            low, high = max(start, first), min(stop, last)
            if low >= high:
                continue
            own = rows[low - start : high - start]
            if first == 0:
                own[:] = logs
            else:
                own[:, :clip] = logs[low:high, None]
                own[:, first:last] = 0
        return rows[None, None]
