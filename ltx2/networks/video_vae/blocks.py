"""What encoder and decoder are made of: residual stages, and samplers that trade resolution for channels.

Shapes: B batch, C channels, F frames, H height, W width; p, q, r the strides of frames, height and width.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...packages import rearrange, reduce
from .convolution import PaddedConv3d, Padding
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

    def forward(self, x: Tensor, time: Tensor | None) -> Tensor:
        """`time`: (B, 4 * C), or None."""
        # No name for what the first convolution gives: it must be gone when the second one runs.
        if self.scale_shift_table is None or time is None:
            hidden = functional.silu(pixel_norm(self.conv1(functional.silu(pixel_norm(x)))))
            return x + self.conv2(hidden)
        shift1, scale1, shift2, scale2 = modulation_rows(self.scale_shift_table, time)
        hidden = pixel_norm(self.conv1(functional.silu(pixel_norm(x) * (1 + scale1) + shift1)))
        hidden = functional.silu(hidden * (1 + scale2) + shift2)
        return x + self.conv2(hidden)


class ResStage(nn.Module):
    """`res_x`: residual blocks at one width, sharing one embedding of the timestep where there is one."""

    def __init__(self, width: int, num_layers: int, padding: Padding, *, has_time: bool = False) -> None:
        super().__init__()
        self.time_embedder = TimeEmbedder(4 * width) if has_time else None
        self.res_blocks = nn.ModuleList(ResBlock(width, padding, has_time=has_time) for _ in range(num_layers))

    def forward(self, x: Tensor, timestep: Tensor | None = None) -> Tensor:
        """`timestep`: (B,), or None."""
        time = self.time_embedder(timestep, x.dtype) if self.time_embedder is not None else None
        for block in self.res_blocks:
            x = block(x, time)
        return x


class Downsample(nn.Module):
    """`compress_*_res`: convolution, then space to depth; the input, folded the same way and averaged, is added."""

    def __init__(self, width: int, out_width: int, stride: Stride, padding: Padding) -> None:
        super().__init__()
        self.stride = stride
        self.group = width * prod(stride) // out_width
        self.conv = PaddedConv3d(width, out_width // prod(stride), padding)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:  # the first frame alone becomes the first frame, so it is paired with itself
            x = torch.cat([x[:, :, :1], x], dim=2)
        skip = reduce(self._fold(x), "b (c group) f h w -> b c f h w", "mean", group=self.group)
        return self._fold(self.conv(x)) + skip

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

    def forward(self, x: Tensor) -> Tensor:
        unfolded = self._unfold(self.conv(x))
        return unfolded + self._unfold(x).repeat(1, self.repeats, 1, 1, 1) if self.repeats else unfolded

    def _unfold(self, x: Tensor) -> Tensor:
        p, q, r = self.stride
        x = rearrange(x, "b (c p q r) f h w -> b c (f p) (h q) (w r)", p=p, q=q, r=r)
        return x[:, :, p - 1 :]  # undoes the encoder's pairing of the first frame with itself
