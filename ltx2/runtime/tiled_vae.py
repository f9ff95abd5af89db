"""Decoding and encoding of clips tile by tile, with any video VAE; decoded frames are handed on as they get finished.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, pairwise, product

import torch
from torch import Tensor

from ..networks.video_vae import VideoVAE
from .streaming import Chunk, frames_at_once, slices, stream
from .tiling import Compression, Piece, Size, Tiling, decode_pieces, encode_pieces, is_streamed

#: Called with (units done, units in all) before each tile or run of frames and at the end; it may raise to stop.
OnStep = Callable[[int, int], None]
#: A part of a clip, by frames, rows and columns: (B, 3, n, H, W) in [-1, 1].
Read = Callable[[slice, slice, slice], Tensor]

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

    Without a tiling the clip is decoded at once, into one run. A tiling that leaves time whole streams it: no more is
    held than a few frames, and what `streaming` says. One that cuts time decodes tile after tile: no more is held than
    the tile being added, the frames that it reaches (in fp32) and the run handed out. `noise` and `generator` are those
    of `VideoVAE.decode`. Raises LTX2Error for a tiling that does not fit the VAE.
    """
    decoder, compression = vae.require_decoder(), vae.config.compression
    raw = vae.decoder_input(latent, noise=noise, generator=generator)
    if tiling is None or not is_streamed(tiling, raw.shape[2], compression):
        return decode_tiles(decoder, raw, tiling or Tiling(), compression, on_step=on_step)
    spans = tiling.in_latents(compression)
    height, width = (
        decode_pieces(length, span, scale, is_time=False)
        for length, span, scale in zip(raw.shape[3:], spans[1:], compression[1:], strict=True)
    )
    planes = list(product(height, width))
    most = frames_at_once(*(max(_length(one.target) for one in axis) for axis in (height, width)))
    store = torch.device("cpu") if tiling.waits_in_ram else None
    parts = (raw[..., row.source, column.source] for row, column in planes)
    runs = [stream(decoder.steps(part), slices(part, most), most, store) for part in parts]
    num_frames = 1 + (raw.shape[2] - 1) * compression[0]
    return _blended(runs, planes, num_frames, on_step or _ignore)


def encode_video(
    vae: VideoVAE,
    pixels: Tensor,
    tiling: Tiling | None = None,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Encode pixels (B, 3, F, H, W) in [-1, 1] into a normalised latent (B, C, f, h, w), as `VideoVAE.encode` does.

    Chunks and tiles of the pixels are brought to `device` and `dtype`, by default those of the pixels.
    """
    pixels = vae.crop(pixels)

    def read(time: slice, rows: slice, columns: slice) -> Tensor:
        return pixels[:, :, time, rows, columns].to(device or pixels.device, dtype or pixels.dtype)

    return _encoded_by(vae, read, tuple(pixels.shape[2:]), tiling, on_step or _ignore)


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

    No more is held than the pictures of one chunk or tile in time, in 8 bits, and one chunk in `dtype` on `device`.
    """
    window = _Window(frames)

    def read(time: slice, rows: slice, columns: slice) -> Tensor:
        return window.read(time, rows, columns).to(device, torch.float32).div_(127.5).sub_(1).to(dtype)

    return _encoded_by(vae, read, size, tiling, on_step or _ignore)


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


def _encoded_by(vae: VideoVAE, read: Read, size: Size, tiling: Tiling | None, on_step: OnStep) -> Tensor:
    compression = vae.config.compression
    num_latents = 1 + (size[0] - 1) // compression[0]
    if tiling is None or not is_streamed(tiling, num_latents, compression):
        return _encoded(vae.encode, read, size, tiling or Tiling(), compression, on_step)
    spans = tiling.in_latents(compression, _LEAST_ENCODE_OVERLAP)
    height, width = (
        encode_pieces(length // scale, span, scale, is_time=False)
        for length, span, scale in zip(size[1:], spans[1:], compression[1:], strict=True)
    )
    planes = list(product(height, width))
    step = compression[0]
    most = frames_at_once(*(max(_length(one.source) for one in axis) for axis in (height, width)))
    # The first chunk has the frame that stands alone besides; no layer lags, so each chunk becomes one of latents.
    starts = [0, *range(1 + max(step, most // step * step), size[0], max(step, most // step * step))]
    times = [slice(start, stop) for start, stop in pairwise([*starts, size[0]])]

    def chunks(row: Piece, column: Piece) -> Iterator[Chunk]:
        for time in times:
            yield [read(time, row.source, column.source)], time is times[-1]

    store = torch.device("cpu") if tiling.waits_in_ram else None
    runs = [stream(vae.encoder.steps(), chunks(*plane), store=store) for plane in planes]
    return vae.normalize(torch.cat(list(_blended(runs, planes, num_latents, on_step)), dim=2))


def _encoded(
    encode: Callable[[Tensor], Tensor],
    read: Read,
    size: Size,
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


def _blended(
    runs: list[Iterator[Tensor]], planes: list[tuple[Piece, Piece]], total: int, on_step: OnStep
) -> Iterator[Tensor]:
    """The runs of a clip of `total` frames (or latents), which are those of its planes side by side."""
    sums = _Sums(max(row.target.stop for row, _ in planes), max(column.target.stop for _, column in planes))
    done = 0
    while done < total:
        for number, (run, (row, column)) in enumerate(zip(runs, planes, strict=True)):
            on_step(done * len(runs) + number, total * len(runs))
            held = [next(run)]
            stop = done + held[0].shape[2]
            if len(runs) > 1:
                sums.add(held.pop(), Piece(slice(0), slice(done, stop), torch.ones(stop - done)), row, column)
        done = stop
        yield held.pop() if held else sums.take(done)
    on_step(total * len(runs), total * len(runs))


def _length(part: slice) -> int:
    return part.stop - part.start


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
