"""A linear map from latents to colours, fitted to what a video VAE's decoder makes of latents.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents, N latent cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..networks.video_vae import VideoVAE
from ..packages import rearrange

#: What is decoded for the fit: so many clips of (f, h, w) latents. 864 cells for the 129 unknowns of each colour.
CLIPS, GRID = 8, (3, 6, 6)
# How much each part of a made-up latent varies: its mean colour, what changes slowly over it, and every cell.
_MEAN, _SLOW, _FINE = 0.6, 0.7, 0.4


@dataclass(frozen=True, eq=False)
class Colours:
    """RGB of a latent cell, about -1 to 1: matrix (3, C) times the normalised latent, and bias (3,). Both fp32."""

    matrix: Tensor
    bias: Tensor

    def __repr__(self) -> str:
        return f"<colours of {self.matrix.shape[1]} channels>"

    def __call__(self, latent: Tensor) -> Tensor:
        """A normalised latent (B, C, f, h, w) as small frames (B, 3, f, h, w), not clamped."""
        matrix, bias = self.matrix.to(latent.device), self.bias.to(latent.device)
        pixels = functional.linear(latent.float().movedim(1, -1), matrix, bias)
        return pixels.movedim(-1, 1)


def fit(
    vae: VideoVAE, *, device: torch.device, dtype: torch.dtype, on_step: Callable[[int, int], None] | None = None
) -> Colours:
    """The least-squares map from made-up latents to the mean colours that `vae` decodes them to; the same every time.

    `on_step(clips done, clips in all)` is called before each clip; it may raise to stop. Decoding as many cells of a
    real clip costs as much: a ninth of 121 frames of 768x512 (13 TFLOP with the VAE of 2.3).

    Raises:
        LTX2Error: the VAE has no convolutional decoder.
    """
    generator = torch.Generator().manual_seed(0)
    cells, colours = [], []
    for done in range(CLIPS):
        if on_step:
            on_step(done, CLIPS)
        latent = made_up(vae.config.latent_channels, GRID, generator)
        frames = vae.decode(latent.to(device, dtype), generator=generator)
        cells.append(rearrange(latent, "1 c f h w -> (f h w) c"))
        colours.append(rearrange(mean_colours(frames.float(), vae.config.compression), "1 c f h w -> (f h w) c").cpu())
    return solve(torch.cat(cells), torch.cat(colours))


def made_up(channels: int, grid: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """A normalised latent (1, C, *grid) of unit variance that varies slowly, as those of clips do."""

    def noise(*size: int) -> Tensor:
        return torch.randn(1, channels, *size, generator=generator)

    slow = functional.interpolate(noise(2, 3, 3), size=grid, mode="trilinear", align_corners=True)
    latent = _MEAN * noise(1, 1, 1) + _SLOW * slow + _FINE * noise(*grid)
    return latent / latent.std()


def mean_colours(frames: Tensor, compression: tuple[int, int, int]) -> Tensor:
    """Frames (B, 3, F, H, W) as the means (B, 3, f, h, w) of their latent cells; the first frame is a cell's own."""
    pooled = functional.avg_pool3d(frames, (1, *compression[1:]))
    first, others = pooled[:, :, :1], pooled[:, :, 1:]
    return torch.cat((first, functional.avg_pool3d(others, (compression[0], 1, 1))), 2) if others.shape[2] else first


def solve(cells: Tensor, colours: Tensor) -> Colours:
    """The map from cells (N, C) to colours (N, 3) with the least squares of errors, in float64."""
    inputs = torch.cat((cells.double(), torch.ones(len(cells), 1, dtype=torch.float64)), 1)
    solution = torch.linalg.lstsq(inputs, colours.double()).solution.T.float()
    return Colours(solution[:, :-1].contiguous(), solution[:, -1].contiguous())
