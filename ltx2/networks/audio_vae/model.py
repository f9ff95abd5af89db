"""The audio VAE: encode log-mel or a waveform to normalised latents, decode latents to log-mel.

Shapes: waveform (B, C, samples); log-mel (B, 2, T, bins); latent (B, Z, t, f), T = ratio (t - 1) + 1.
"""

from __future__ import annotations

import torch
from torch import nn

from ...config.audio_vae import AudioVAEConfig
from ...errors import LTX2Error
from ...packages import rearrange
from .coder import Decoder, Encoder
from .mel import log_mel


class Statistics(nn.Module):
    """Mean and deviation of every (channel, bin) of the latent, stored as one vector: channel * bins + bin."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        self.shape = (config.latent_channels, config.latent_bins)
        self.register_buffer("mean", torch.empty(config.token_channels))
        self.register_buffer("std", torch.empty(config.token_channels))

    def normalise(self, latent: torch.Tensor) -> torch.Tensor:
        """(B, Z, t, f) as the encoder writes it -> as the transformer sees it."""
        return (latent - self._per_bin(self.mean, latent)) / self._per_bin(self.std, latent)

    def unnormalise(self, latent: torch.Tensor) -> torch.Tensor:
        """The inverse of `normalise`."""
        return latent * self._per_bin(self.std, latent) + self._per_bin(self.mean, latent)

    def _per_bin(self, vector: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return rearrange(vector.to(like), "(z f) -> z 1 f", z=self.shape[0], f=self.shape[1])


class AudioVAE(nn.Module):
    """Encoder, decoder and latent statistics; it computes in the dtype of its input."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.statistics = Statistics(config)
        self.decoder = Decoder(config)

    def encode(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-mel (B, 2, T, bins) -> normalised latent (B, Z, ceil(T / ratio), f): the mean, nothing is drawn."""
        expected = self.config.in_channels, self.config.mel_bins
        _check("mel spectrogram", mel, f"(batch, {expected[0]}, frames, {expected[1]})", expected)
        mean = self.encoder(mel).chunk(2, dim=1)[0]
        return self.statistics.normalise(mean)

    def encode_waveform(self, waveform: torch.Tensor, sampling_rate: int) -> torch.Tensor:
        """Waveform (B, 1 or 2, samples) at `sampling_rate` Hz -> normalised latent (B, Z, t, f)."""
        return self.encode(log_mel(waveform, sampling_rate, self.config).to(waveform.dtype))

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Normalised latent (B, Z, t, f) -> log-mel (B, 2, ratio (t - 1) + 1, bins)."""
        expected = self.config.latent_channels, self.config.latent_bins
        _check("audio latent", latent, f"(batch, {expected[0]}, frames, {expected[1]})", expected)
        return self.decoder(self.statistics.unnormalise(latent))


def _check(what: str, x: torch.Tensor, rule: str, expected: tuple[int, int]) -> None:
    if x.ndim != 4 or (x.shape[1], x.shape[3]) != expected or not x.shape[2]:
        raise LTX2Error(f"the {what} must be {rule}; got {tuple(x.shape)}; check which node it comes from")
