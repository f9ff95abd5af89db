"""The video VAE: a tile of pixels or latents on its way through the convolutions.

Sizes are (frames, height, width) of the grid that a block sees; counts are of numbers, not bytes, unless said.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch

from ...config.video_vae import Block, VideoVAEConfig
from ..tiling import Interval, Tiling, intervals, pixels_of
from .stored import copied

Size = tuple[int, int, int]
_KERNEL = 27
# Pixels of finished frames in one run, and their bytes while tiles are summed (see runtime.tiled_vae).
_FRAMES_PER_RUN = 8
_SUM_BYTES = 4


def decode_bytes(config: VideoVAEConfig, size: Size, tiling: Tiling | None, dtype: torch.dtype) -> int:
    """Decoding a clip of `size` (frames, height, width) in pixels, tile by tile.

    Beside the tile there are the sums of all tiles that reach the frames in work, and the run handed out last.
    """
    lengths, spans = _in_latents(config, size, tiling)
    times, rows, columns = (
        intervals(length, span, is_time=axis == 0)
        for axis, (length, span) in enumerate(zip(lengths, spans, strict=True))
    )
    walk = _Walk(dtype)
    largest = (_longest(times), _longest(rows), _longest(columns))
    tile = walk.decoded(config, largest) * dtype.itemsize
    if len(times) * len(rows) * len(columns) == 1:
        return tile
    plane = config.pixel_channels * size[1] * size[2]
    sums = max(_frames_in_sums(times, config.temporal_compression, alone=len(rows) * len(columns) == 1))
    run = _FRAMES_PER_RUN if len(times) > 1 else 0
    return tile + plane * (sums * _SUM_BYTES + run * dtype.itemsize)


def encode_bytes(config: VideoVAEConfig, size: Size, tiling: Tiling | None, dtype: torch.dtype) -> int:
    """Encoding a clip of `size` (frames, height, width) in pixels, tile by tile."""
    lengths, spans = _in_latents(config, size, tiling)
    latents = tuple(
        _longest(intervals(length, span, is_time=axis == 0))
        for axis, (length, span) in enumerate(zip(lengths, spans, strict=True))
    )
    time, height, width = config.compression
    tile = (1 + (latents[0] - 1) * time, latents[1] * height, latents[2] * width)
    return _Walk(dtype).encoded(config, tile) * dtype.itemsize


def _in_latents(config: VideoVAEConfig, size: Size, tiling: Tiling | None) -> tuple[Size, list[tuple[int, int] | None]]:
    time, height, width = config.compression
    lengths = (1 + (size[0] - 1) // time, size[1] // height, size[2] // width)
    return lengths, (tiling or Tiling()).in_latents(config.compression)


def _longest(tiles: list[Interval]) -> int:
    return max(tile.stop - tile.start for tile in tiles)


def _frames_in_sums(times: list[Interval], compression: int, *, alone: bool) -> list[int]:
    """Frames that are being summed while each tile in time is decoded; `alone`: there is one tile in space.

    The first tile of a plane finds what the tile before has left; the next ones find all that the first has reached.
    """
    targets = [pixels_of(tile, compression, is_time=True) for tile in times]
    if not alone:
        return [target.stop - target.start for target in targets]
    return [0] + [before.stop - target.start for before, target in zip(targets, targets[1:], strict=False)]


@dataclass(frozen=True)
class _Walk:
    """Through the blocks in the order they run: the most numbers that are alive at any moment."""

    dtype: torch.dtype

    def decoded(self, config: VideoVAEConfig, latents: Size) -> int:
        """A tile of latents (frames, height, width)."""
        width, size = config.decoder_bottleneck, latents
        mode = config.decoder_padding_mode
        given = config.latent_channels * prod(latents)
        held = width * prod(size)  # what a block is given stays with its caller
        peaks = [self._conv(config.latent_channels, width, size, mode)]
        for block in reversed(config.decoder_blocks or ()):
            if block.kind == "res_x":
                peaks.append(held + self._stage(block, width, size, mode))
                held = width * prod(size)
                continue
            out = width // block.multiplier
            peaks.append(held + self._upsampled(block, width, out, size, mode))
            whole = tuple(length * factor for length, factor in zip(size, block.stride, strict=True))
            size = (whole[0] - block.stride[0] + 1, *whole[1:])
            # Doubled frames are one less, but the one left out stays in memory until something is added.
            held = out * prod(size if block.residual else whole)
            width = out
        pixels = config.pixel_channels * config.patch_size**2
        peaks.append(held + width * prod(size) + self._conv(width, pixels, size, mode))
        return given + max(peaks)

    def encoded(self, config: VideoVAEConfig, pixels: Size) -> int:
        """A tile of pixels (frames, height, width)."""
        patch, width, mode = config.patch_size, config.latent_channels, config.encoder_padding_mode
        size = (pixels[0], pixels[1] // patch, pixels[2] // patch)
        given = config.pixel_channels * prod(pixels)
        peaks = [given + self._conv(config.pixel_channels * patch**2, width, size, mode)]
        for block in config.encoder_blocks:
            entering = width * prod(size)
            if block.kind == "res_x":
                peaks.append(entering + self._stage(block, width, size, mode))
                continue
            if block.stride[0] == 2:  # the first frame is paired with itself
                size = (size[0] + 1, *size[1:])
            out = width * block.multiplier
            skip = out * prod(size) // prod(block.stride)
            doubled = width * prod(size) if block.stride[0] == 2 else 0
            folded = self._conv(width, out // prod(block.stride), size, mode)
            peaks.append(entering + doubled + max(width * prod(size), skip + folded))
            size = tuple(length // factor for length, factor in zip(size, block.stride, strict=True))
            width = out
        return given + max(peaks)

    def _stage(self, block: Block, width: int, size: Size, mode: str) -> int:
        """Residual blocks, beside what they are given: the second convolution's input, and the block's own."""
        own = 1 if block.num_layers > 1 else 0
        return (own + 1) * width * prod(size) + self._conv(width, width, size, mode)

    def _upsampled(self, block: Block, width: int, out: int, size: Size, mode: str) -> int:
        """The convolution and what it is unfolded to; a residual one adds its input, unfolded and repeated."""
        wide = out * prod(block.stride)
        unfolded = wide * prod(size) * (3 if block.residual else 2)
        return max(unfolded, self._conv(width, wide, size, mode))

    def _conv(self, width: int, out: int, size: Size, mode: str) -> int:
        """Input padded by two frames, padded again in space where not by zeros, output, and copied weights."""
        frames, height, columns = size
        padded = (frames + 2) * height * columns
        if mode != "zeros":
            padded += (frames + 2) * (height + 2) * (columns + 2)
        return width * padded + out * prod(size) + copied(_KERNEL * width * out, self.dtype)
