"""What encoder and decoder are made of: residual stages, and samplers that trade resolution for channels.

Shapes: B batch, C channels, F frames, H height, W width; p, q, r the strides of frames, height and width.
"""

from __future__ import annotations

from functools import partial
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...packages import rearrange, reduce
from .convolution import PaddedConv3d, Padding
from .past import WHOLE, Past, Step
from .timestep import TimeEmbedder, modulation_rows

Stride = tuple[int, int, int]


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean over channels of x^2 + 1e-8)."""
    return x / torch.sqrt(x.pow(2).mean(dim=1, keepdim=True) + 1e-8)


class ResBlock(nn.Module):
    """x + conv2(silu(norm(conv1(silu(norm(x)))))), each norm shifted and scaled where time conditions the decoder."""

    def __init__(self, width: int, padding: Padding, *, has_time: bool) -> None:
        super().__init__()
        self.conv1 = PaddedConv3d(width, width, padding)
        self.conv2 = PaddedConv3d(width, width, padding)
        self.scale_shift_table = nn.Parameter(torch.zeros(4, width)) if has_time else None

    def forward(self, x: Tensor, past: Past = WHOLE, time: Tensor | None = None) -> Tensor:
        """`time`: (B, 4 * C), or None."""
        first, second = self._modulations(time)
        # What is remembered is x itself: the sum needs it, and to norm it again takes less than to keep that as well.
        before = past.swap(self, x)
        context = None if before is None else activated(before, *first)
        # Names end as soon as they can: a chunk is the largest of what is in memory.
        window = self.conv1.window(activated(x, *first), context, is_last=past.is_last)
        del context
        hidden = self.conv1(window)
        del window
        hidden = activated(hidden, *second)
        window = self.conv2.window(hidden, past.swap(self.conv2, hidden), is_last=past.is_last)
        del hidden
        hidden = self.conv2(window)
        del window
        lag = self.conv1.lag(is_last=past.is_last) + self.conv2.lag(is_last=past.is_last)
        return _add_lagging(hidden, before, x, lag)

    def _modulations(self, time: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if self.scale_shift_table is None or time is None:
            return (), ()
        rows = modulation_rows(self.scale_shift_table, time)
        return rows[:2], rows[2:]


def activated(x: Tensor, shift: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """silu(norm(x)), the norm shifted and scaled where they are given."""
    x = pixel_norm(x)
    if shift is not None and scale is not None:
        x = x.mul_(1 + scale).add_(shift)
    return functional.silu(x, inplace=True)


def _add_lagging(hidden: Tensor, before: Tensor | None, x: Tensor, lag: int) -> Tensor:
    """`hidden` plus as many frames of `before` and x, one after the other, that end `lag` frames before their end."""
    stop = x.shape[2] - lag
    start = stop - hidden.shape[2]
    early = min(max(-start, 0), hidden.shape[2])
    if early:
        assert before is not None, "frames before the clip are never given"
        hidden[:, :, :early] += before[:, :, before.shape[2] + start :][:, :, :early]
    if early < hidden.shape[2]:
        hidden[:, :, early:] += x[:, :, start + early : stop]
    return hidden


class ResStage(nn.Module):
    """`res_x`: residual blocks at one width, sharing one embedding of the timestep where there is one."""

    def __init__(self, width: int, num_layers: int, padding: Padding, *, has_time: bool = False) -> None:
        super().__init__()
        self.time_embedder = TimeEmbedder(4 * width) if has_time else None
        self.res_blocks = nn.ModuleList(ResBlock(width, padding, has_time=has_time) for _ in range(num_layers))

    def steps(self, timestep: Tensor | None, dtype: torch.dtype) -> list[Step]:
        """`timestep`: (B,), or None."""
        time = self.time_embedder(timestep, dtype) if self.time_embedder is not None else None
        return [Step(partial(block, time=time)) for block in self.res_blocks]

    def forward(self, x: Tensor, timestep: Tensor | None = None) -> Tensor:
        """A whole clip. `timestep`: (B,), or None."""
        for step in self.steps(timestep, x.dtype):
            x = step.run(x, WHOLE)
        return x


class Downsample(nn.Module):
    """`compress_*_res`: convolution, then space to depth; the input, folded the same way and averaged, is added."""

    def __init__(self, width: int, out_width: int, stride: Stride, padding: Padding) -> None:
        super().__init__()
        self.stride = stride
        self.group = width * prod(stride) // out_width
        self.conv = PaddedConv3d(width, out_width // prod(stride), padding)

    def forward(self, x: Tensor, past: Past = WHOLE) -> Tensor:
        """A chunk has an even number of frames where time is halved; the first one has one more."""
        if self.stride[0] == 2 and not past.given:
            x = torch.cat([x[:, :, :1], x], dim=2)  # the first frame alone becomes the first frame: paired with itself
        skip = reduce(self._fold(x), "b (c group) f h w -> b c f h w", "mean", group=self.group)
        return self._fold(self.conv.step(x, past)) + skip

    def _fold(self, x: Tensor) -> Tensor:
        p, q, r = self.stride
        return rearrange(x, "b c (f p) (h q) (w r) -> b (c p q r) f h w", p=p, q=q, r=r)


class Upsample(nn.Module):
    """`compress_*` of the decoder: convolution, then depth to space; a residual one adds its input, unfolded too."""

    def __init__(self, width: int, out_width: int, stride: Stride, padding: Padding, *, residual: bool) -> None:
        super().__init__()
        self.stride = stride
        self.repeats = out_width * prod(stride) // width if residual else 0
        self.conv = PaddedConv3d(width, out_width * prod(stride), padding)

    def forward(self, x: Tensor, past: Past = WHOLE) -> Tensor:
        window = self.conv.window(x, past.swap(self.conv, x), is_last=past.is_last)
        unfolded = self._unfold(self.conv(window))
        if self.repeats:
            unfolded.unflatten(1, (self.repeats, -1)).add_(self._unfold(self.conv.centres(window))[:, None])
        # undoes the encoder's pairing of the first frame with itself
        return unfolded if past.given else unfolded[:, :, self.stride[0] - 1 :]

    def _unfold(self, x: Tensor) -> Tensor:
        p, q, r = self.stride
        return rearrange(x, "b (c p q r) f h w -> b c (f p) (h q) (w r)", p=p, q=q, r=r)
