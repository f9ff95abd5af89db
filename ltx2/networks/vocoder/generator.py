"""The generator of a vocoder: HiFi-GAN (2.0) or BigVGAN (2.3, twice: waveform and bandwidth extension).

Shapes: log-mel (B, 2, T, bins); inside (B, C, samples), where samples grow by each of the upsample rates.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ...config.vocoder import GeneratorConfig
from ...packages import rearrange
from .activation import AntiAliasedSnake

CHANNELS = 2  # stereo
INNER_SLOPE = 0.1
FINAL_SLOPE = 0.01  # not a slip: the last activation was trained with another slope than the inner ones


class ResBlock(nn.Module):
    """For each dilation: x + conv2(act2(conv1(act1(x))))."""

    def __init__(self, config: GeneratorConfig, channels: int, kernel_size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def convolutions(dilations: tuple[int, ...]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv1d(channels, channels, kernel_size, dilation=d, padding=d * (kernel_size - 1) // 2)
                for d in dilations
            )

        self.acts1 = nn.ModuleList(_activation(config, channels, INNER_SLOPE) for _ in dilations)
        self.convs1 = convolutions(dilations)
        self.acts2 = nn.ModuleList(_activation(config, channels, INNER_SLOPE) for _ in dilations)
        self.convs2 = convolutions((1,) * len(dilations))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for act1, conv1, act2, conv2 in zip(self.acts1, self.convs1, self.acts2, self.convs2, strict=True):
            x = x + conv2(act2(conv1(act1(x))))
        return x


class Generator(nn.Module):
    """(B, 2, T, bins) -> (B, 2, T * product of the upsample rates)."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.upsample_initial_channel
        self.conv_pre = nn.Conv1d(CHANNELS * config.mel_bins, width, kernel_size=7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()  # flat, as the checkpoint numbers them: all of one stage, then the next
        for rate, kernel_size in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            padding = (kernel_size - rate) // 2
            self.ups.append(nn.ConvTranspose1d(width, width // 2, kernel_size, stride=rate, padding=padding))
            width //= 2
            self.resblocks.extend(
                ResBlock(config, width, size, dilations)
                for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            )
        self.act_post = _activation(config, width, FINAL_SLOPE)
        self.conv_post = nn.Conv1d(width, CHANNELS, kernel_size=7, padding=3, bias=config.use_bias_at_final)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(rearrange(mel, "b s t bin -> b (s bin) t"))
        for stage, up in enumerate(self.ups):
            x = up(x if self.config.is_antialiased else F.leaky_relu(x, INNER_SLOPE))
            x = self._parallel_blocks(stage, x)
        return self._final_activation(self.conv_post(self.act_post(x)))

    def _parallel_blocks(self, stage: int, x: torch.Tensor) -> torch.Tensor:
        """Mean of the stage's blocks, summed one by one: stacked, they would triple the memory of long clips."""
        count = len(self.config.resblock_kernel_sizes)
        first, *others = self.resblocks[stage * count : (stage + 1) * count]
        total = first(x)
        for block in others:
            total = total + block(x)
        return total / count

    def _final_activation(self, waveform: torch.Tensor) -> torch.Tensor:
        if not self.config.apply_final_activation:
            return waveform
        return torch.tanh(waveform) if self.config.use_tanh_at_final else waveform.clamp(-1, 1)


def _activation(config: GeneratorConfig, channels: int, slope: float) -> nn.Module:
    return AntiAliasedSnake(channels) if config.is_antialiased else nn.LeakyReLU(slope)
