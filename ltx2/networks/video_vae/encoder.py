"""The causal encoder: pixels to the mean of the latent distribution, before normalisation.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents.
"""

from __future__ import annotations

from torch import Tensor, nn

from ...config.video_vae import Block, VideoVAEConfig
from ...packages import rearrange
from .blocks import Downsample, ResStage, activated
from .convolution import PaddedConv3d, Padding
from .past import Past, Step, passed


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

    def steps(self) -> list[Step]:
        """What a clip passes through, whole or in chunks: 8k + 1 frames first, then 8k."""
        steps = [Step(self._patches)]
        for block in self.down_blocks:
            steps += map(Step, block.res_blocks) if isinstance(block, ResStage) else [Step(block)]
        return [*steps, Step(self._latents)]

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, 8k + 1, H, W) in [-1, 1] -> (B, C, k + 1, h, w)."""
        return passed(pixels, self.steps())

    def _patches(self, pixels: Tensor, past: Past) -> Tensor:
        # The offset along the width varies slower than the one along the height; no other fold has that order.
        q = self.patch_size
        return self.conv_in.step(rearrange(pixels, "b c f (h q) (w r) -> b (c r q) f h w", q=q, r=q), past)

    def _latents(self, x: Tensor, past: Past) -> Tensor:
        x = self.conv_out.step(activated(x), past)
        return x[:, : self.latent_channels]  # the last channel is the log-variance that all share


def _down_block(block: Block, width: int, padding: Padding) -> nn.Module:
    if block.kind == "res_x":
        return ResStage(width, block.num_layers, padding)
    return Downsample(width, width * block.multiplier, block.stride, padding)
