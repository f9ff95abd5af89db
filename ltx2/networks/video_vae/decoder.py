"""The convolutional decoder: latents, no longer normalised, to pixels.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ...config.video_vae import Block, VideoVAEConfig
from ...packages import rearrange
from .blocks import ResStage, Upsample, activated
from .convolution import PaddedConv3d, Padding
from .past import Past, Step, passed
from .timestep import TimeEmbedder, modulation_rows

# A timestep-conditioned decoder is told this level of noise, and its input carries half of it (model.NOISE_SHARE).
_TIMESTEP = 0.05


class VideoDecoder(nn.Module):
    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        padding = Padding(config.decoder_padding_mode, is_causal=config.decoder_is_causal)
        width = config.decoder_bottleneck
        has_time = config.timestep_conditioning
        self.patch_size = config.patch_size
        self.timestep_scale_multiplier = nn.Parameter(torch.tensor(1000.0)) if has_time else None
        self.conv_in = PaddedConv3d(config.latent_channels, width, padding)
        self.up_blocks = nn.ModuleList()
        for block in reversed(config.decoder_blocks or ()):
            self.up_blocks.append(_up_block(block, width, padding, has_time=has_time))
            width //= block.multiplier
        self.last_time_embedder = TimeEmbedder(2 * width) if has_time else None
        self.last_scale_shift_table = nn.Parameter(torch.zeros(2, width)) if has_time else None
        self.conv_out = PaddedConv3d(width, config.pixel_channels * config.patch_size**2, padding)

    def steps(self, latent: Tensor) -> list[Step]:
        """What a clip passes through, whole or in chunks, whose latents are like `latent` but for their frames."""
        timestep = self._timestep(latent)
        steps = [Step(self.conv_in.step)]
        for block in self.up_blocks:
            if isinstance(block, ResStage):
                steps += block.steps(timestep, latent.dtype)
            else:
                steps.append(Step(block, block.stride[0]))
        return [*steps, Step(partial(self._pixels, timestep=timestep))]

    def forward(self, latent: Tensor) -> Tensor:
        """(B, C, f, h, w) -> (B, 3, 8 (f - 1) + 1, 32 h, 32 w), about [-1, 1], not clamped."""
        return passed(latent, self.steps(latent))

    def _pixels(self, x: Tensor, past: Past, timestep: Tensor | None) -> Tensor:
        x = activated(x, *self._modulation(timestep, x.dtype))
        # The offset along the width varies slower than the one along the height; no other fold has that order.
        q = self.patch_size
        return rearrange(self.conv_out.step(x, past), "b (c r q) f h w -> b c f (h q) (w r)", q=q, r=q)

    def _timestep(self, latent: Tensor) -> Tensor | None:
        if self.timestep_scale_multiplier is None:
            return None
        return (_TIMESTEP * self.timestep_scale_multiplier.float()).expand(latent.shape[0])

    def _modulation(self, timestep: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
        if timestep is None or self.last_time_embedder is None or self.last_scale_shift_table is None:
            return ()
        return modulation_rows(self.last_scale_shift_table, self.last_time_embedder(timestep, dtype))


def _up_block(block: Block, width: int, padding: Padding, *, has_time: bool) -> nn.Module:
    if block.kind == "res_x":
        return ResStage(width, block.num_layers, padding, has_time=has_time)
    return Upsample(width, width // block.multiplier, block.stride, padding, residual=block.residual)
