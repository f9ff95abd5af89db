"""What is alive while a clip passes through the video VAE, walked as the runtime passes it: chunk by chunk.

All layers at one level of resolution see grids that are so many times the latents', so amounts are sums of three terms
and hold for tiles of any height and width.

Shapes: h, w height and width of a tile in latents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch

from ...config.video_vae import VideoVAEConfig
from ..streaming import evenly
from .stored import copied

_KERNEL = 27


def enough(most: int) -> int:
    """Latents after which a stream of `most` frames at once takes no more: the decoder of 2.0 lags by 22."""
    return 40 + 2 * most


class Amount(NamedTuple):
    """So many numbers: area * h * w + edge * (h + w) + fixed."""

    area: int = 0
    edge: int = 0
    fixed: int = 0

    def plus(self, *others: Amount) -> Amount:
        return Amount(*map(sum, zip(self, *others, strict=True)))

    def minus(self, other: Amount) -> Amount:
        return Amount(self.area - other.area, self.edge - other.edge, self.fixed - other.fixed)

    def of(self, height: int, width: int) -> int:
        return self.area * height * width + self.edge * (height + width) + self.fixed


NOTHING = Amount()


@dataclass(frozen=True)
class Moments:
    """The moments at which most is alive.

    Attributes:
        early: While layers run, before the first frames are handed out.
        late: While layers run, from then on.
        first: When the first frames are handed out.
        between: When any are.
    """

    early: frozenset[Amount]
    late: frozenset[Amount]
    first: frozenset[Amount]
    between: frozenset[Amount]

    @property
    def running(self) -> frozenset[Amount]:
        return self.early | self.late

    def most(self, height: int, width: int) -> int:
        """Numbers for a tile of height x width latents."""
        return _most(self.running, height, width)

    def most_beside(self, height: int, width: int, others: list[tuple[int, int]]) -> int:
        """Numbers for a tile and others, each (height, width), that are at rest: at first no farther than begun."""
        moments = ((self.early, self.first), (self.late, self.between))
        return max(
            _most(running, height, width) + sum(_most(resting, *other) for other in others)
            for running, resting in moments
        )


@lru_cache(maxsize=64)
def decoded(
    config: VideoVAEConfig, num_latents: int, dtype: torch.dtype, most: int | None = None, *, in_ram: bool = False
) -> Moments:
    """A clip of so many latent frames to pixels, streamed in chunks of `most` frames; None for all at once.

    `in_ram`: what is remembered between chunks is not on the device.
    """
    grid = _Grid(1, config.decoder_padding_mode, config.decoder_is_causal, dtype)
    width = config.decoder_bottleneck
    layers: list[_Layer] = [_Convolution(grid, config.latent_channels, width)]
    for block in reversed(config.decoder_blocks or ()):
        if block.kind == "res_x":
            layers += [_Residual(grid, width) for _ in range(block.num_layers)]
            continue
        width //= block.multiplier
        layers.append(_Up(grid, width * block.multiplier, width, block.stride, block.residual))
        grid = grid.scaled(block.stride[1])
    layers.append(_Pixels(grid, width, config.pixel_channels * config.patch_size**2))
    return _walked(
        layers, _chunks(num_latents if most is None else min(num_latents, enough(most)), most, 0), most, in_ram=in_ram
    )


@lru_cache(maxsize=64)
def encoded(
    config: VideoVAEConfig, num_latents: int, dtype: torch.dtype, most: int | None = None, *, in_ram: bool = False
) -> Moments:
    """A clip of 1 + compression * (`num_latents` - 1) frames to latents; otherwise as `decoded`."""
    time, height, _ = config.compression
    width = config.latent_channels
    grid = _Grid(height // config.patch_size, config.encoder_padding_mode, True, dtype)
    layers: list[_Layer] = [_Patches(grid, config.pixel_channels * config.patch_size**2, width)]
    for block in config.encoder_blocks:
        if block.kind == "res_x":
            layers += [_Residual(grid, width) for _ in range(block.num_layers)]
            continue
        layers.append(_Down(grid, width, width * block.multiplier, block.stride))
        width *= block.multiplier
        grid = grid.scaled(1, block.stride[1])
    layers.append(_Pixels(grid, width, config.latent_channels + 1))
    chunk = None if most is None else max(time, most // time * time)
    frames = 1 + (num_latents - 1) * time if chunk is None else min(1 + (num_latents - 1) * time, 1 + 8 * chunk)
    return _walked(layers, _chunks(frames, chunk, 1), None, in_ram=in_ram)


def _chunks(frames: int, most: int | None, alone: int) -> list[int]:
    """Frames of each chunk; the first has `alone` more than the others."""
    if most is None or frames <= most + alone:
        return [frames]
    rest = frames - most - alone
    return [most + alone, *[most] * (rest // most), *([rest % most] if rest % most else [])]


@dataclass(frozen=True)
class _Grid:
    """A level of resolution: `side` cells for each latent along height and width."""

    side: int
    mode: str
    is_causal: bool
    dtype: torch.dtype

    def scaled(self, up: int, down: int = 1) -> _Grid:
        return _Grid(self.side * up // down, self.mode, self.is_causal, self.dtype)

    def frames(self, channels: int, count: int) -> Amount:
        return Amount(channels * count * self.side**2)

    def padded(self, channels: int, count: int) -> Amount:
        """The copy that padding other than by zeros makes."""
        if self.mode == "zeros":
            return NOTHING
        numbers = channels * count
        return Amount(numbers * self.side**2, numbers * 2 * self.side, numbers * 4)

    def convolving(self, width: int, out: int, window: int) -> Amount:
        """A window, what it is padded to, what it becomes, and copied weights."""
        if window < 3:
            return self.frames(width, window)
        weights = Amount(0, 0, copied(_KERNEL * width * out, self.dtype))
        return self.frames(width, window).plus(self.padded(width, window), self.frames(out, window - 2), weights)

    def window(self, got: int, *, begins: bool, ends: bool) -> int:
        """Frames that a convolution sees for a chunk of `got`."""
        if begins and not got:
            return 0
        around = (2 if self.is_causal else 1) if begins else 2
        return got + around + (1 if ends and not self.is_causal else 0)


@dataclass(frozen=True)
class _Run:
    """One run of a layer.

    Attributes:
        given: Frames, and the numbers of what holds them.
        moments: What is alive beside its input and what all layers remember.
        kept: What it remembers afterwards.
    """

    given: int
    held: Amount
    moments: tuple[Amount, ...]
    kept: Amount


class _Layer(Protocol):
    growth: int

    def run(self, got: int, ends: bool) -> _Run:
        """The next chunk, of so many frames."""
        ...


@dataclass
class _Convolution:
    """A convolution of the frames as they are; `_in` and `_out` are channels."""

    grid: _Grid
    width: int
    out: int
    growth: int = 1
    begins: bool = True

    def window(self, got: int, ends: bool) -> int:
        window = self.grid.window(got, begins=self.begins, ends=ends)
        self.begins = self.begins and not got
        return window

    def kept(self, ends: bool) -> Amount:
        return NOTHING if ends or self.begins else self.grid.frames(self.width, 2)

    def run(self, got: int, ends: bool) -> _Run:
        window = self.window(got, ends)
        kept = self.kept(ends)
        given = max(0, window - 2)
        moment = self.grid.convolving(self.width, self.out, window).plus(kept)
        return _Run(given, self.grid.frames(self.out, given), (moment,), kept)


@dataclass
class _Residual:
    grid: _Grid
    width: int
    growth: int = 1
    first: _Convolution = field(init=False)
    second: _Convolution = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = (_Convolution(self.grid, self.width, self.width) for _ in range(2))

    def run(self, got: int, ends: bool) -> _Run:
        frames = lambda count: self.grid.frames(self.width, count)  # noqa: E731
        context = 0 if self.first.begins else 2
        window = self.first.window(got, ends)
        middle = max(0, window - 2)
        early = self.first.kept(ends)
        moments = [frames(context + got + window).plus(early)]
        moments.append(self.grid.convolving(self.width, self.width, window).plus(early))
        window = self.second.window(middle, ends)
        late = early.plus(self.second.kept(ends))
        moments.append(frames(middle + max(middle, window)).plus(late))
        moments.append(self.grid.convolving(self.width, self.width, window).plus(late))
        given = max(0, window - 2)
        return _Run(given, frames(given), tuple(moments), late)


@dataclass
class _Up(_Convolution):
    """From `width` to `out` channels on the grid of its input, unfolded to `stride` times the cells."""

    stride: tuple[int, int, int] = (1, 1, 1)
    residual: bool = False

    def __init__(self, grid: _Grid, width: int, out: int, stride: tuple[int, int, int], residual: bool) -> None:
        super().__init__(grid, width, out * stride[0] * stride[1] * stride[2], stride[0])
        self.stride, self.residual, self.has_given = stride, residual, False

    def run(self, got: int, ends: bool) -> _Run:
        run = super().run(got, ends)
        if not run.given:
            return run
        window = self.grid.frames(self.width, run.given + 2).plus(run.kept)
        added = self.grid.frames(self.width, run.given) if self.residual else NOTHING
        moments = (*run.moments, window.plus(run.held, run.held), window.plus(run.held, added))
        dropped, self.has_given = 0 if self.has_given else self.stride[0] - 1, True
        return _Run(run.given * self.stride[0] - dropped, run.held, moments, run.kept)


@dataclass
class _Down(_Convolution):
    """The input is folded and averaged, and so is the convolution."""

    def __init__(self, grid: _Grid, width: int, out: int, stride: tuple[int, int, int]) -> None:
        self.fold = stride[0] * stride[1] * stride[2]
        super().__init__(grid, width, out // self.fold)
        self.stride = stride

    def run(self, got: int, ends: bool) -> _Run:
        doubled = NOTHING
        if self.begins and self.stride[0] == 2:
            got += 1
            doubled = self.grid.frames(self.width, got)
        run = super().run(got, ends)
        skip = self.grid.frames(self.out, run.given)
        moments = [doubled.plus(self.grid.frames(self.width, got), skip)]
        moments += [doubled.plus(skip, moment) for moment in run.moments]
        moments.append(doubled.plus(skip, skip, skip))
        return _Run(run.given // self.stride[0], skip, tuple(moments), run.kept)


@dataclass
class _Pixels(_Convolution):
    """What is activated is held beside the convolution; so is what it is unfolded from."""

    def run(self, got: int, ends: bool) -> _Run:
        run = super().run(got, ends)
        active = self.grid.frames(self.width, got)
        moments = tuple(active.plus(moment) for moment in run.moments)
        return _Run(run.given, run.held, (*moments, active.plus(run.held, run.held)), run.kept)


class _Patches(_Pixels):
    """Pixels are folded, and held so beside the convolution."""


def _walked(layers: list[_Layer], chunks: list[int], most: int | None, *, in_ram: bool) -> Moments:
    walk = _Walk(layers, most, in_ram)
    first = layers[0]
    for number, frames in enumerate(chunks, 1):
        # Latents are views of the clip; pixels are read for their chunk.
        held = first.grid.frames(first.width, frames) if isinstance(first, _Patches) else NOTHING
        walk.feed(0, frames, held, ends=number == len(chunks))
    return Moments(*map(_largest, (walk.early, walk.late, walk.first, walk.between)))


class _Walk:
    """Chunks through layers, each handing its frames on before it gets more (see runtime.streaming)."""

    def __init__(self, layers: list[_Layer], most: int | None, in_ram: bool) -> None:
        self._layers, self._most, self._in_ram = layers, most, in_ram
        self._live = NOTHING
        self._kept = [NOTHING] * len(layers)
        self.early: set[Amount] = set()
        self.late: set[Amount] = set()
        self.first: set[Amount] = set()
        self.between: set[Amount] = set()

    def feed(self, index: int, frames: int, held: Amount, *, ends: bool) -> None:
        """A chunk of so many frames, in what takes `held`, for a layer and those behind it."""
        self._live = self._live.plus(held)
        if index == len(self._layers):
            self.first = self.first or {self._live}
            self.between.add(self._live)
            self._live = self._live.minus(held)
            return
        layer = self._layers[index]
        size = evenly(frames, self._most, layer.growth)
        while frames:
            got = min(frames, size)
            frames -= got
            run = layer.run(got, ends and not frames)
            before = self._kept[index]
            base = self._live.plus(before) if self._in_ram else self._live
            (self.late if self.first else self.early).update(base.plus(moment) for moment in run.moments)
            self._kept[index] = run.kept
            if not self._in_ram:
                self._live = self._live.minus(before).plus(run.kept)
            if not frames:
                self._live = self._live.minus(held)
            if run.given:
                self.feed(index + 1, run.given, run.held, ends=ends and not frames)


def _most(moments: frozenset[Amount], height: int, width: int) -> int:
    return max((one.of(height, width) for one in moments), default=0)


def _largest(moments: Iterable[Amount]) -> frozenset[Amount]:
    """Those that are the most for some tile: no other is as large in all three terms."""
    found: list[Amount] = []
    for one in sorted(moments, reverse=True):
        if not any(other.edge >= one.edge and other.fixed >= one.fixed for other in found):
            found.append(one)
    return frozenset(found)
