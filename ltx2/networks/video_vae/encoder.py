"""The causal encoder: pixels to the mean of the latent distribution, before normalisation.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ...config.video_vae import Block, VideoVAEConfig
from ...packages import rearrange
from .blocks import Downsample, ResStage, pixel_norm
from .convolution import PaddedConv3d, Padding


class VideoEncoder(nn.Module):
    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        padding = Padding(config.encoder_padding_mode, is_causal=True)
        width = self.latent_channels = config.latent_channels
        self.patch_size = config.patch_size
        self.conv_in = PaddedConv3d(config.pixel_channels * config.patch_size**2, width, padding)
        self.down_blocks = nn.ModuleList()
        for block in config.encoder_blocks:
            self.down_blocks.append(_down_block(block, width, padding))
            width *= block.multiplier
        self.conv_out = PaddedConv3d(width, config.latent_channels + 1, padding)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, 8k + 1, H, W) in [-1, 1] -> (B, C, k + 1, h, w)."""
        # The offset along the width varies slower than the one along the height; no other fold has that order.
        q = self.patch_size
        x = self.conv_in(rearrange(pixels, "b c f (h q) (w r) -> b (c r q) f h w", q=q, r=q))
        for block in self.down_blocks:
            x = block(x)
        x = self.conv_out(functional.silu(pixel_norm(x)))
        return x[:, : self.latent_channels]  # the last channel is the log-variance that all share


def _down_block(block: Block, width: int, padding: Padding) -> nn.Module:
    if block.kind == "res_x":
        return ResStage(width, block.num_layers, padding)
    return Downsample(width, width * block.multiplier, block.stride, padding)
