"""Pictures too large for one call: overlapping tiles of the plane are predicted one by one and blended. Lossy.

Self-attention grows with the square of its tokens, and a tile sees itself alone: all frames of its part of the plane,
the conditions that lie there, and the whole sound. Its tokens keep their positions; as attention knows differences of
positions only, they look to each other as they do in the whole. The sound hears of every tile its own part of the
picture; what the tiles say of it is averaged. Each pass is blended before guidance, which sees the whole clip again.

Shapes: B batch, T tokens of the clip, N tokens of a tile, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..geometry import PIXELS_PER_LATENT
from ..tokens import TokenState

# The middle of a coarse reference's token may lie beside a tile that its edge is in.
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class TokenTiling:
    """How many tiles stand side by side and one above the other, and the pixels by which they overlap at the least."""

    columns: int = 1
    rows: int = 1
    overlap: int = 160

    def __post_init__(self) -> None:
        for name in ("columns", "rows"):
            if getattr(self, name) < 1:
                raise LTX2Error(f"token tiling: {name} must be 1 or more; got {getattr(self, name)}")
        if self.overlap < PIXELS_PER_LATENT or self.overlap % PIXELS_PER_LATENT:
            raise LTX2Error(
                f"token tiling: overlap must be a multiple of {PIXELS_PER_LATENT} pixels above 0; got {self.overlap} "
                "(usual: 160)"
            )


@dataclass(frozen=True, eq=False)
class Tile:
    """Tokens of one part of the plane.

    Attributes:
        index: (N,) which tokens of the clip they are, rising.
        weights: (N, 1) shares of its predictions; those of all tiles add up to 1 for each token.
    """

    index: Tensor
    weights: Tensor

    def of(self, state: TokenState) -> TokenState:
        """The state of these tokens alone."""
        index = self.index
        return replace(
            state,
            latent=state.latent[:, index],
            clean=state.clean[:, index],
            mask=state.mask[:, index],
            positions=state.positions[:, :, index],
            num_targets=int((index < state.num_targets).sum()),
            keyframes=None if state.keyframes is None else state.keyframes[:, index],
            attention=None if state.attention is None else state.attention.taken(index),
        )


def tiles_of(state: TokenState | None, tiling: TokenTiling | None) -> tuple[Tile, ...]:
    """The tiles of a video, row by row; none where it is predicted whole.

    Raises LTX2Error where tiles would be no wider than they overlap, and without a video.
    """
    if tiling is None or tiling.columns == tiling.rows == 1:
        return ()
    if state is None:
        raise LTX2Error("token tiling must have a video to tile; got sound alone: take LTX-2 Token Tiling out")
    bounds = state.positions[0, 1:]  # (2, T, 2) rows and columns in pixels
    ends = bounds[:, : state.num_targets, 1].amax(1)
    spans = [
        _spans(int(end), count, tiling.overlap, name)
        for end, count, name in zip(ends, (tiling.rows, tiling.columns), ("rows", "columns"), strict=True)
    ]
    weights = torch.stack(
        [
            _weights(bounds[0], spans[0], row) * _weights(bounds[1], spans[1], column)
            for row, column in product(range(tiling.rows), range(tiling.columns))
        ]
    )
    # What lies outside of the plane is everybody's.
    weights = torch.where((weights > 0).any(0), weights, 1.0)
    weights = weights / weights.sum(0)
    found = [torch.nonzero(row).flatten() for row in weights]
    return tuple(Tile(index, row[index, None]) for index, row in zip(found, weights, strict=True))


def _spans(length: int, count: int, overlap: int, name: str) -> list[tuple[int, int]]:
    """[start, stop) in pixels of `count` tiles of one size along `length`, evenly spread."""
    length, overlap = length // PIXELS_PER_LATENT, overlap // PIXELS_PER_LATENT
    if count > 1 and length < overlap + count:
        raise LTX2Error(
            f"token tiling: {count} {name} must each add to what they overlap by; got {length * PIXELS_PER_LATENT} "
            f"pixels with an overlap of {overlap * PIXELS_PER_LATENT}: use fewer {name} or a smaller overlap"
        )
    size = -(-(length + (count - 1) * overlap) // count)
    starts = [round(n * (length - size) / max(count - 1, 1)) for n in range(count)]
    return [(start * PIXELS_PER_LATENT, (start + size) * PIXELS_PER_LATENT) for start in starts]


def _weights(bounds: Tensor, spans: Sequence[tuple[int, int]], number: int) -> Tensor:
    """(T,) of one tile along one axis: 0 beside it, and ramps where its neighbours begin or end; for bounds (T, 2)."""
    start, stop = spans[number]
    middle = bounds.mean(-1)
    share = torch.ones_like(middle)
    if number:
        share = (middle - start) / (spans[number - 1][1] - start)
    if number + 1 < len(spans):
        share = torch.minimum(share, (stop - middle) / (stop - spans[number + 1][0]))
    inside = (bounds[:, 0] < stop) & (bounds[:, 1] > start)
    return torch.where(inside, share.clamp(_LEAST_WEIGHT, 1), 0.0)


def largest(
    states: tuple[TokenState | None, TokenState | None], tiling: TokenTiling | None
) -> tuple[TokenState | None, TokenState | None]:
    """The (video, audio) of the largest call: of the tile with most tokens, or all."""
    tiles = tiles_of(states[0], tiling)
    return (max(tiles, key=lambda tile: len(tile.index)).of(states[0]), states[1]) if tiles else states


def blended(tiles: Sequence[Tile], found: Sequence[tuple[Sequence[Tensor] | None, ...]], num_tokens: int) -> tuple:
    """Per modality, the tensors (B, T, C) of all passes, from those of each tile: (video, audio) of each."""
    videos, audios = zip(*found, strict=True)
    whole = []
    for parts in zip(*videos, strict=True):
        one = parts[0].new_zeros(parts[0].shape[0], num_tokens, parts[0].shape[2])
        for tile, part in zip(tiles, parts, strict=True):
            one.index_add_(1, tile.index, part * tile.weights)
        whole.append(one)
    if audios[0] is None:
        return tuple(whole), None
    return tuple(whole), tuple(torch.stack(parts).mean(0) for parts in zip(*audios, strict=True))
