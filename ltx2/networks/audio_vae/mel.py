"""The front-end of the audio VAE: waveform to log-mel.

Shapes: waveform (B, C, samples); log-mel (B, C, T, bins), T = samples // hop + 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from ...config.audio_vae import AudioVAEConfig
from ...errors import LTX2Error
from ...media.resample import resample
from ...packages import rearrange, repeat, transformers_audio

FLOOR = 1e-5  # magnitudes below it count as silence


def log_mel(waveform: torch.Tensor, sampling_rate: int, config: AudioVAEConfig) -> torch.Tensor:
    """Log-mel (B, 2, T, bins) of `waveform` (B, 1 or 2, samples) at any rate, in float32 whatever the input's dtype.

    log(max(mel |STFT|, 1e-5)), centred with reflection, Slaney scale and norm. Mono is heard on both channels.
    Raises LTX2Error for other channel counts and for sound shorter than half a window.
    """
    waveform = resample(as_channels(waveform, config.in_channels).float(), sampling_rate, config.sampling_rate)
    shortest = config.fft_length // 2 + 1
    if waveform.shape[-1] < shortest:
        raise LTX2Error(
            f"the audio must last at least {shortest / config.sampling_rate:.3f} s ({shortest} samples at "
            f"{config.sampling_rate} Hz); got {waveform.shape[-1]} samples; use a longer clip"
        )
    spectrum = torch.stft(
        rearrange(waveform, "b c samples -> (b c) samples"),
        config.fft_length,
        config.hop_length,
        config.window_length,
        window=torch.hann_window(config.window_length, device=waveform.device),
        pad_mode="reflect",
        return_complex=True,
    )
    filters = mel_filters(config).to(waveform)
    mel = rearrange(spectrum.abs(), "n frequency t -> n t frequency") @ filters
    return rearrange(mel.clamp(min=FLOOR).log(), "(b c) t bins -> b c t bins", b=waveform.shape[0])


def as_channels(waveform: torch.Tensor, channels: int) -> torch.Tensor:
    """`waveform` (B, C, samples) with `channels` channels: mono is repeated; anything else is refused."""
    if waveform.ndim != 3 or waveform.shape[1] not in (1, channels):
        raise LTX2Error(
            f"the audio must be (batch, 1 or {channels} channels, samples); got {tuple(waveform.shape)}; "
            "mix it down to stereo or mono"
        )
    if waveform.shape[1] == channels:
        return waveform
    return repeat(waveform, "b 1 samples -> b c samples", c=channels)


@lru_cache(maxsize=4)
def mel_filters(config: AudioVAEConfig) -> torch.Tensor:
    """The (fft_length / 2 + 1, bins) Slaney filter bank."""
    bank = transformers_audio.mel_filter_bank(
        num_frequency_bins=config.fft_length // 2 + 1,
        num_mel_filters=config.mel_bins,
        min_frequency=config.mel_min_hz,
        max_frequency=config.mel_max_hz,
        sampling_rate=config.sampling_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    with torch.inference_mode(False):  # the cached tensor outlives the caller's mode
        return torch.from_numpy(bank.astype(np.float32))
