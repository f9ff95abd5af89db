"""How a clip is cut into overlapping tiles that a VAE handles one at a time: sizes, intervals and ramps, per axis.

A tile of latents [b, e) stands for pixels [32 b, 32 e) along height and width. In time it stands for the frames
[8 b, 1 + 8 (e - 1)): its first latent is decoded to a single frame, as the first latent of a clip is, and that frame
is not what the whole clip has there. So every later tile starts one latent early, and its ramp starts at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error

#: Size and overlap of the tiles along one axis; None leaves it whole.
Span = tuple[int, int]
#: Frames, height and width, in pixels or latents.
Size = tuple[int, int, int]
#: Pixels per latent along (frames, height, width).
Compression = tuple[int, int, int]

_AXES = ("frames", "height", "width")
_TILE_SIDES = (768, 512, 384, 256)
_SIDE_OVERLAP = 64


@dataclass(frozen=True)
class Tiling:
    """(size, overlap) of the tiles per axis, in frames and pixels; None leaves an axis whole.

    Whole in time means streamed, frame after frame: exact, and flat in the length of the clip. Height and width that
    are whole are exact as well.

    Attributes:
        waits_in_ram: Whether what a stream remembers of earlier frames leaves the device until it is needed.
    """

    frames: Span | None = None
    height: Span | None = None
    width: Span | None = None
    waits_in_ram: bool = False

    def __post_init__(self) -> None:
        for axis in _AXES:
            span: Span | None = getattr(self, axis)
            if span is not None and not 0 < span[1] < span[0]:
                raise LTX2Error(
                    f"tiles must overlap, by less than their size; got {axis} {span[0]} with overlap {span[1]}; "
                    "choose an overlap between, or leave the axis untiled"
                )

    def in_latents(self, compression: Compression, least_overlap: Compression | None = None) -> list[Span | None]:
        """The spans in latents. Raises LTX2Error where one is no multiple of the compression, or overlaps too little.

        `least_overlap` is in frames and pixels.
        """
        spans: list[Span | None] = []
        for axis, step, least in zip(_AXES, compression, least_overlap or compression, strict=True):
            span: Span | None = getattr(self, axis)
            if span is not None:
                _check_multiple(f"tile size along {axis}", span[0], step)
                _check_multiple(f"tile overlap along {axis}", span[1], step)
                if span[1] < least:
                    raise LTX2Error(f"tiles must overlap by at least {least} along {axis}; got {span[1]}; raise it")
                span = (span[0] // step, span[1] // step)
            spans.append(span)
        return spans


def _check_multiple(what: str, value: int, step: int) -> None:
    if value % step:
        below = value // step * step
        nearest = f"{below} or {below + step}" if below else f"{step}"
        raise LTX2Error(f"the {what} must be a multiple of {step}; got {value} (nearest: {nearest})")


def choose_tiling(size: Size, fits: Callable[[Tiling], bool]) -> Tiling:
    """What makes least of a clip of size (frames, height, width) in pixels an approximation and `fits` into memory.

    `fits` says whether there is room (see runtime.estimates). A clip is streamed in time, at the worst with what it
    remembers in RAM, which is slower and as exact; only where that does not fit is it cut, into the largest tiles
    that do. Where even the smallest do not fit, they are the answer.
    """
    return next((tiling for tiling in candidates(size) if fits(tiling)), _tiling(size, _TILE_SIDES[-1]))


def candidates(size: Size) -> Iterator[Tiling]:
    """Every way to handle a clip of size (frames, height, width) in pixels, the best first."""
    yield Tiling()
    yield Tiling(waits_in_ram=True)
    yield from (_tiling(size, side) for side in _TILE_SIDES)


def _tiling(size: Size, side: int) -> Tiling:
    height, width = ((side, _SIDE_OVERLAP) if length > side else None for length in size[1:])
    return Tiling(None, height, width, waits_in_ram=True)


@dataclass(frozen=True)
class Interval:
    """One tile along one axis, in latents: [start, stop), and how many latents its ends share with its neighbours."""

    start: int
    stop: int
    fade_in: int
    fade_out: int


def intervals(length: int, span: Span | None, *, is_time: bool) -> list[Interval]:
    """The tiles of an axis of `length` latents; the last one may be shorter than the others."""
    if span is None or length <= span[0]:
        return [Interval(0, length, 0, 0)]
    size, overlap = span
    step = size - overlap
    starts = range(0, length - overlap, step)
    early = 1 if is_time else 0
    return [
        Interval(
            start=start - early if start else 0,
            stop=min(start + size, length),
            fade_in=overlap + early if start else 0,
            fade_out=overlap if start + size < length else 0,
        )
        for start in starts
    ]


def is_streamed(tiling: Tiling, num_latents: int, compression: Compression) -> bool:
    """Whether the tiling leaves a clip of so many latents whole in time."""
    return len(intervals(num_latents, tiling.in_latents(compression)[0], is_time=True)) == 1


@dataclass(frozen=True)
class Piece:
    """One tile along one axis: where it is read, where it is written, and how much of it counts there."""

    source: slice
    target: slice
    weights: Tensor


def decode_pieces(length: int, span: Span | None, scale: int, *, is_time: bool) -> list[Piece]:
    """Read in latents, written in pixels."""
    tiles = intervals(length, span, is_time=is_time)
    targets = [pixels_of(tile, scale, is_time=is_time) for tile in tiles]
    weights = _weights(tiles, targets, scale, is_time=is_time)
    sources = [slice(tile.start, tile.stop) for tile in tiles]
    return [Piece(*parts) for parts in zip(sources, targets, weights, strict=True)]


def encode_pieces(length: int, span: Span | None, scale: int, *, is_time: bool) -> list[Piece]:
    """Read in pixels, written in latents; `length` is in latents all the same."""
    tiles = intervals(length, span, is_time=is_time)
    targets = [slice(tile.start, tile.stop) for tile in tiles]
    weights = _weights(tiles, targets, 1, is_time=is_time)
    sources = [pixels_of(tile, scale, is_time=is_time) for tile in tiles]
    return [Piece(*parts) for parts in zip(sources, targets, weights, strict=True)]


def pixels_of(tile: Interval, scale: int, *, is_time: bool) -> slice:
    """Where a tile lies in pixels or frames."""
    if is_time:
        return slice(tile.start * scale, 1 + (tile.stop - 1) * scale)
    return slice(tile.start * scale, tile.stop * scale)


def _weights(tiles: Sequence[Interval], targets: Sequence[slice], scale: int, *, is_time: bool) -> list[Tensor]:
    """The ramps of an axis divided by their sum, so that a tile's weights are just the product over its axes."""
    ramps = [_ramps(tile, target, scale, is_time=is_time) for tile, target in zip(tiles, targets, strict=True)]
    total = torch.zeros(targets[-1].stop)
    for ramp, target in zip(ramps, targets, strict=True):
        total[target] += ramp
    return [ramp / total[target].clamp(min=1e-8) for ramp, target in zip(ramps, targets, strict=True)]


def _ramps(tile: Interval, target: slice, scale: int, *, is_time: bool) -> Tensor:
    """1, but for linear ramps at the ends that touch a neighbour. They exclude 0 and 1; in time they start at 0."""
    weights = torch.ones(target.stop - target.start)
    fade_out = tile.fade_out * scale
    if tile.fade_in and is_time:
        fade_in = 1 + (tile.fade_in - 1) * scale
        weights[:fade_in] = torch.linspace(0, 1, fade_in + 1)[:-1]
    elif tile.fade_in:
        fade_in = tile.fade_in * scale
        weights[:fade_in] = torch.linspace(0, 1, fade_in + 2)[1:-1]
    if fade_out:
        weights[-fade_out:] *= torch.linspace(1, 0, fade_out + 2)[1:-1]
    return weights
