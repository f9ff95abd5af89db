"""The convolutional decoder: latents, no longer normalised, to pixels.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config.video_vae import Block, VideoVAEConfig
from ...packages import rearrange
from .blocks import ResStage, Upsample, pixel_norm
from .convolution import PaddedConv3d, Padding
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

    def forward(self, latent: Tensor) -> Tensor:
        """(B, C, f, h, w) -> (B, 3, 8 (f - 1) + 1, 32 h, 32 w), about [-1, 1], not clamped."""
        timestep = self._timestep(latent)
        x = self.conv_in(latent)
        for block in self.up_blocks:
            x = block(x, timestep) if isinstance(block, ResStage) else block(x)
        x = self.conv_out(functional.silu(self._modulate(pixel_norm(x), timestep)))
        # The offset along the width varies slower than the one along the height; no other fold has that order.
        q = self.patch_size
        return rearrange(x, "b (c r q) f h w -> b c f (h q) (w r)", q=q, r=q)

    def _timestep(self, latent: Tensor) -> Tensor | None:
        if self.timestep_scale_multiplier is None:
            return None
        return (_TIMESTEP * self.timestep_scale_multiplier.float()).expand(latent.shape[0])

    def _modulate(self, x: Tensor, timestep: Tensor | None) -> Tensor:
        if timestep is None or self.last_time_embedder is None or self.last_scale_shift_table is None:
            return x
        shift, scale = modulation_rows(self.last_scale_shift_table, self.last_time_embedder(timestep, x.dtype))
        return x * (1 + scale) + shift


def _up_block(block: Block, width: int, padding: Padding, *, has_time: bool) -> nn.Module:
    if block.kind == "res_x":
        return ResStage(width, block.num_layers, padding, has_time=has_time)
    return Upsample(width, width // block.multiplier, block.stride, padding, residual=block.residual)
