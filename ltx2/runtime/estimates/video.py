"""The video VAE: a clip on its way through the convolutions, in the chunks and tiles that the runtime makes.

Sizes are (frames, height, width) of the grid that a layer sees; counts are of numbers, not bytes, unless said.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from ...config.video_vae import VideoVAEConfig
from ..streaming import frames_at_once
from ..tiling import Interval, Tiling, intervals, is_streamed, pixels_of
from .video_walk import Moments, decoded, encoded

Size = tuple[int, int, int]
# Pixels of finished frames in one run, and their bytes while tiles are summed (see runtime.tiled_vae).
_FRAMES_PER_RUN = 8
_SUM_BYTES = 4


def decode_bytes(config: VideoVAEConfig, size: Size, tiling: Tiling | None, dtype: torch.dtype) -> int:
    """Decoding a clip of `size` (frames, height, width) in pixels."""
    lengths, tiles = _tiles(config, size, tiling)
    plane = config.pixel_channels * size[1] * size[2]
    if tiling is not None and is_streamed(tiling, lengths[0], config.compression):
        given = config.latent_channels * lengths[0] * lengths[1] * lengths[2]
        most = _most(config, tiles)
        moments = decoded(config, lengths[0], dtype, most, in_ram=tiling.waits_in_ram)
        sums = plane * most if len(tiles[1]) * len(tiles[2]) > 1 else 0
        return (given + _of_planes(moments, tiles)) * dtype.itemsize + sums * _SUM_BYTES
    times, rows, columns = tiles
    largest = [_longest(axis) for axis in tiles]
    tile = decoded(config, largest[0], dtype).most(*largest[1:]) + config.latent_channels * _volume(largest)
    if len(times) * len(rows) * len(columns) == 1:
        return tile * dtype.itemsize
    sums = max(_frames_in_sums(times, config.temporal_compression, alone=len(rows) * len(columns) == 1))
    run = _FRAMES_PER_RUN if len(times) > 1 else 0
    return tile * dtype.itemsize + plane * (sums * _SUM_BYTES + run * dtype.itemsize)


def encode_bytes(config: VideoVAEConfig, size: Size, tiling: Tiling | None, dtype: torch.dtype) -> int:
    """Encoding a clip of `size` (frames, height, width) in pixels."""
    lengths, tiles = _tiles(config, size, tiling)
    if tiling is not None and is_streamed(tiling, lengths[0], config.compression):
        moments = encoded(config, lengths[0], dtype, _most(config, tiles), in_ram=tiling.waits_in_ram)
        return _of_planes(moments, tiles) * dtype.itemsize
    largest = [_longest(axis) for axis in tiles]
    time, height, width = config.compression
    given = config.pixel_channels * (1 + (largest[0] - 1) * time) * largest[1] * height * largest[2] * width
    return (given + encoded(config, largest[0], dtype).most(*largest[1:])) * dtype.itemsize


def _tiles(config: VideoVAEConfig, size: Size, tiling: Tiling | None) -> tuple[Size, list[list[Interval]]]:
    """The clip and its tiles, in latents."""
    time, height, width = config.compression
    lengths = (1 + (size[0] - 1) // time, size[1] // height, size[2] // width)
    spans = (tiling or Tiling()).in_latents(config.compression)
    tiles = [intervals(n, span, is_time=axis == 0) for axis, (n, span) in enumerate(zip(lengths, spans, strict=True))]
    return lengths, tiles


def _most(config: VideoVAEConfig, tiles: list[list[Interval]]) -> int:
    _, height, width = config.compression
    return frames_at_once(_longest(tiles[1]) * height, _longest(tiles[2]) * width)


def _of_planes(moments: Moments, tiles: list[list[Interval]]) -> int:
    """Numbers of all streams side by side: the largest at work, the others at rest."""
    sides = [(_length(row), _length(column)) for row in tiles[1] for column in tiles[2]]
    largest = max(sides, key=lambda side: moments.most(*side))
    sides.remove(largest)
    return moments.most_beside(*largest, sides)


def _longest(tiles: list[Interval]) -> int:
    return max(map(_length, tiles))


def _length(tile: Interval) -> int:
    return tile.stop - tile.start


def _volume(lengths: list[int]) -> int:
    return lengths[0] * lengths[1] * lengths[2]


def _frames_in_sums(times: list[Interval], compression: int, *, alone: bool) -> list[int]:
    """Frames that are being summed while each tile in time is decoded; `alone`: there is one tile in space.

    The first tile of a plane finds what the tile before has left; the next ones find all that the first has reached.
    """
    targets = [pixels_of(tile, compression, is_time=True) for tile in times]
    if not alone:
        return [target.stop - target.start for target in targets]
    return [0] + [before.stop - target.start for before, target in pairwise(targets)]
