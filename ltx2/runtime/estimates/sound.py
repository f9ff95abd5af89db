"""The audio VAE and the vocoder. Counts are of numbers, not bytes, unless said.

Shapes: T mel frames (four for each latent), F mel bins; a vocoder's stage is (width, samples).
"""

from __future__ import annotations

from math import prod

import torch

from ...config.audio_vae import AudioVAEConfig
from ...config.vocoder import GeneratorConfig, VocoderConfig
from .stored import copied

_KERNEL = 9
# The vocoder computes in fp32 whatever is asked for.
_VOCODER = torch.float32
# Around a convolution of a vocoder's stage: what the stage was given, its sum so far, the block's own state, the
# convolution's input and output.
_STAGE = 5
# A snake at twice the rate holds three states twice as long as the one that it is given, in place of those two.
_SNAKE_STAGE = 3 + 1 + 3 * 2


def encode_sound_bytes(config: AudioVAEConfig, length: int, dtype: torch.dtype) -> int:
    """Encoding a sound of `length` latents. The spectrum before it takes a third of that or less."""
    time, bins = config.ratio * length, config.mel_bins
    entering = config.base_channels
    held, peaks = entering * time * bins, []
    for multiplier in config.channel_multipliers:
        width = config.base_channels * multiplier
        peaks.append(held + _level(entering, width, time, bins, dtype))
        time, bins = -(-time // 2), bins // 2
        held, entering = width * time * bins, width
    return max(peaks) * dtype.itemsize


def decode_sound_bytes(audio: AudioVAEConfig, vocoder: VocoderConfig, length: int, dtype: torch.dtype) -> int:
    """Decoding `length` latents: the spectrogram first, then the waveform."""
    mel = _spectrogram(audio, length, dtype) * dtype.itemsize
    return max(mel, _waveform(vocoder, audio.mel_frames(length)) * _VOCODER.itemsize)


def _spectrogram(config: AudioVAEConfig, length: int, dtype: torch.dtype) -> int:
    time, bins = length, config.latent_bins
    widths = [config.base_channels * multiplier for multiplier in reversed(config.channel_multipliers)]
    entering = widths[0]
    peaks = []
    for index, width in enumerate(widths):
        held = entering * time * bins  # with the decoder, while the level runs
        peaks.append(held + _level(entering, width, time, bins, dtype))
        if index == len(widths) - 1:
            break
        larger = (2 * time, 2 * bins)
        upsampled = width * prod(larger) + _conv(width, width, *larger, dtype)
        peaks.append(held + width * time * bins + upsampled)
        time, bins, entering = 2 * time - 1, 2 * bins, width
    return max(peaks)


def _level(entering: int, width: int, time: int, bins: int, dtype: torch.dtype) -> int:
    """Residual blocks, beside what the level was given: the block's own state, and the convolution's input."""
    first = entering * time * bins + _conv(entering, width, time, bins, dtype)
    return max(first, 2 * width * time * bins + _conv(width, width, time, bins, dtype))


def _conv(width: int, out: int, time: int, bins: int, dtype: torch.dtype) -> int:
    """Padded input, output and copied weights."""
    return width * (time + 2) * (bins + 2) + out * time * bins + copied(_KERNEL * width * out, dtype)


def _waveform(config: VocoderConfig, mel_frames: int) -> int:
    low = mel_frames * prod(config.generator.upsample_rates)
    found = _generated(config.generator, mel_frames)
    if config.extension is not None:
        found = max(found, 2 * low + _generated(config.extension.generator, low // config.extension.hop_length))
    return found


def _generated(config: GeneratorConfig, mel_frames: int) -> int:
    width, samples = config.upsample_initial_channel, mel_frames
    states = _SNAKE_STAGE if config.is_antialiased else _STAGE
    peaks = []
    for rate, kernel_size in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        entering, weights = width * samples, width * width // 2 * kernel_size
        width, samples = width // 2, samples * rate
        state = width * samples
        peaks.append(2 * entering + state + copied(weights, _VOCODER))
        convolution = width * width * max(config.resblock_kernel_sizes)
        # Around a convolution there are no snakes.
        peaks.append(max(states * state, _STAGE * state + copied(convolution, _VOCODER)))
    return max(peaks)
