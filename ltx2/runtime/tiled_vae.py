"""Decoding and encoding of clips tile by tile, with any video VAE; decoded frames are handed on as they get finished.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, product

import torch
from torch import Tensor

from ..networks.video_vae import VideoVAE
from .tiling import Compression, Piece, Tiling, decode_pieces, encode_pieces

#: Called with (tiles done, tiles in all) before each tile and at the end; it may raise to stop.
OnStep = Callable[[int, int], None]

# An encoder sees further back than a decoder's seams tolerate: less overlap shows in the latents.
_LEAST_ENCODE_OVERLAP: Compression = (16, 64, 64)
# Whoever takes the frames still holds the last run while the next tile is decoded: runs are short, tiles are not.
_FRAMES_PER_RUN = 8


def decode_video(
    vae: VideoVAE,
    latent: Tensor,
    tiling: Tiling | None = None,
    *,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Tensor]:
    """Decode a normalised latent (B, C, f, h, w) into finished runs of frames (B, 3, n, H, W), in order.

    Without a tiling there is one run. With one, no more is held than the tile being added, the frames that it reaches
    (in fp32) and the run handed out. `noise` and `generator` are those of `VideoVAE.decode`. Raises LTX2Error for a
    tiling that does not fit the VAE.
    """
    decoder = vae.require_decoder()
    raw = vae.decoder_input(latent, noise=noise, generator=generator)
    return decode_tiles(decoder, raw, tiling or Tiling(), vae.config.compression, on_step=on_step)


def encode_video(
    vae: VideoVAE, pixels: Tensor, tiling: Tiling | None = None, *, on_step: OnStep | None = None
) -> Tensor:
    """Encode pixels (B, 3, F, H, W) in [-1, 1] into a normalised latent (B, C, f, h, w), as `VideoVAE.encode` does."""
    return encode_tiles(vae.encode, vae.crop(pixels), tiling or Tiling(), vae.config.compression, on_step=on_step)


def encode_frames(
    vae: VideoVAE,
    frames: Iterator[Tensor],
    size: tuple[int, int, int],
    tiling: Tiling | None = None,
    *,
    device: torch.device,
    dtype: torch.dtype,
    on_step: OnStep | None = None,
) -> Tensor:
    """Encode a stream of pictures (H, W, 3), uint8, of `size` (8k + 1, H, W) into a normalised latent (1, C, f, h, w).

    No more is held than the pictures of one tile in time, in 8 bits, and one tile in `dtype` on `device`.
    """

    def encode(pixels: Tensor) -> Tensor:
        return vae.encode(pixels.to(device, torch.float32).div(127.5).sub(1).to(dtype))

    read = _Window(frames).read
    return _encoded(encode, read, size, tiling or Tiling(), vae.config.compression, on_step or _ignore)


def decode_tiles(
    decode: Callable[[Tensor], Tensor],
    latent: Tensor,
    tiling: Tiling,
    compression: Compression,
    *,
    on_step: OnStep | None = None,
) -> Iterator[Tensor]:
    """`decode_video` for any `decode` that maps (B, C, f, h, w) to (B, channels, F, H, W)."""
    spans = tiling.in_latents(compression)
    time, height, width = (
        decode_pieces(length, span, scale, is_time=axis == 0)
        for axis, (length, span, scale) in enumerate(zip(latent.shape[2:], spans, compression, strict=True))
    )
    return _decoded(decode, latent, time, list(product(height, width)), on_step or _ignore)


def encode_tiles(
    encode: Callable[[Tensor], Tensor],
    pixels: Tensor,
    tiling: Tiling,
    compression: Compression,
    *,
    on_step: OnStep | None = None,
) -> Tensor:
    """`encode_video` for any `encode` that maps (B, channels, 8k + 1, H, W) to (B, C, k + 1, h, w)."""

    def read(time: slice, rows: slice, columns: slice) -> Tensor:
        return pixels[:, :, time, rows, columns]

    return _encoded(encode, read, tuple(pixels.shape[2:]), tiling, compression, on_step or _ignore)


def _encoded(
    encode: Callable[[Tensor], Tensor],
    read: Callable[[slice, slice, slice], Tensor],
    size: tuple[int, ...],
    tiling: Tiling,
    compression: Compression,
    on_step: OnStep,
) -> Tensor:
    spans = tiling.in_latents(compression, _LEAST_ENCODE_OVERLAP)
    lengths = (1 + (size[0] - 1) // compression[0], size[1] // compression[1], size[2] // compression[2])
    times, height, width = (
        encode_pieces(length, span, scale, is_time=axis == 0)
        for axis, (length, span, scale) in enumerate(zip(lengths, spans, compression, strict=True))
    )
    planes = list(product(height, width))
    total = len(times) * len(planes)
    sums = _Sums(lengths[1], lengths[2])
    for i, time in enumerate(times):
        for j, (row, column) in enumerate(planes):
            on_step(i * len(planes) + j, total)
            tile = encode(read(time.source, row.source, column.source))
            sums.add(tile, time, row, column)
            del tile
    on_step(total, total)
    return sums.take(lengths[0])


class _Window:
    """The frames that the tiles in time still need, of those that are read one after the other."""

    def __init__(self, frames: Iterator[Tensor]) -> None:
        self._frames = frames
        self._kept: deque[Tensor] = deque()
        self._start = 0

    def read(self, time: slice, rows: slice, columns: slice) -> Tensor:
        """(1, 3, n, H, W) uint8; `time` never moves back."""
        while self._start < time.start:
            self._kept.popleft()
            self._start += 1
        while self._start + len(self._kept) < time.stop:
            self._kept.append(next(self._frames))
        tile = [frame[rows, columns] for frame in islice(self._kept, time.stop - time.start)]
        return torch.stack(tile).permute(3, 0, 1, 2)[None]


def _decoded(
    decode: Callable[[Tensor], Tensor],
    latent: Tensor,
    times: list[Piece],
    planes: list[tuple[Piece, Piece]],
    on_step: OnStep,
) -> Iterator[Tensor]:
    total = len(times) * len(planes)
    if total == 1:  # nothing to blend, so no second copy of the pixels
        on_step(0, 1)
        yield decode(latent)
        on_step(1, 1)
        return
    sums = _Sums(max(row.target.stop for row, _ in planes), max(column.target.stop for _, column in planes))
    # Frames are final once the next tile in time starts behind them.
    finals = [piece.target.start for piece in times[1:]] + [times[-1].target.stop]
    for i, (time, final) in enumerate(zip(times, finals, strict=True)):
        for j, (row, column) in enumerate(planes):
            on_step(i * len(planes) + j, total)
            tile = decode(latent[:, :, time.source, row.source, column.source])
            sums.add(tile, time, row, column)
            del tile  # or it would lie in memory beside the next one
        while sums.start < final:
            yield sums.take(min(sums.start + _FRAMES_PER_RUN, final))
    on_step(total, total)


class _Sums:
    """Weighted tiles being added up, in float32: frames from `start` to the last that a tile has reached.

    Each frame is a tensor of its own: room is added without a copy, and what is taken leaves nothing behind.
    """

    def __init__(self, height: int, width: int) -> None:
        self.start = 0
        self._plane = (height, width)
        self._frames: deque[Tensor] = deque()
        self._dtype = torch.float32

    def add(self, tile: Tensor, time: Piece, row: Piece, column: Piece) -> None:
        self._dtype = tile.dtype
        while self.start + len(self._frames) < time.target.stop:
            self._frames.append(tile.new_zeros((*tile.shape[:2], *self._plane), dtype=torch.float32))
        rows, columns = row.weights[:, None].to(tile.device), column.weights.to(tile.device)
        # Frame by frame, or the weights and a float32 copy of the tile would take as much memory as the tile.
        for i, weight in enumerate(time.weights.tolist()):
            sums = self._frames[time.target.start - self.start + i][:, :, row.target, column.target]
            sums.addcmul_(tile[:, :, i].float(), weight * rows * columns)

    def take(self, stop: int) -> Tensor:
        """The frames before `stop`, which no later tile may touch, in memory of their own."""
        taken = [self._frames.popleft() for _ in range(stop - self.start)]
        self.start = stop
        return torch.stack(taken, dim=2).to(self._dtype)


def _ignore(_done: int, _total: int) -> None:
    """The hook of those who pass none."""
