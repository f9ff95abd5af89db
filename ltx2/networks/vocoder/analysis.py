"""Causal log-mel of a waveform with the bases that the checkpoint stores: what the bandwidth extension sees.

Shapes: waveform (B, C, samples), samples a multiple of hop; log-mel (B, C, bins, samples / hop).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ...config.vocoder import ExtensionConfig
from ...packages import rearrange

FLOOR = 1e-5


class StoredSTFT(nn.Module):
    """Windowed Fourier bases: real rows, then imaginary rows. The inverse is in every file and has no use here."""

    forward_basis: torch.Tensor
    inverse_basis: torch.Tensor

    def __init__(self, fft_length: int) -> None:
        super().__init__()
        rows = 2 * (fft_length // 2 + 1)
        self.register_buffer("forward_basis", torch.empty(rows, 1, fft_length))
        self.register_buffer("inverse_basis", torch.empty(rows, 1, fft_length))


class MelSTFT(nn.Module):
    """log(max(mel_basis |STFT|, 1e-5)); only the past is seen: the padding is on the left."""

    mel_basis: torch.Tensor

    def __init__(self, config: ExtensionConfig) -> None:
        super().__init__()
        self.hop_length = config.hop_length
        self.stft_fn = StoredSTFT(config.fft_length)
        self.register_buffer("mel_basis", torch.empty(config.generator.mel_bins, config.fft_length // 2 + 1))

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        basis = self.stft_fn.forward_basis.to(waveform)
        past = basis.shape[-1] - self.hop_length
        mono = rearrange(F.pad(waveform, (past, 0)), "b c samples -> (b c) 1 samples")
        real, imaginary = F.conv1d(mono, basis, stride=self.hop_length).chunk(2, dim=1)
        magnitude = torch.sqrt(real.square() + imaginary.square())
        mel = self.mel_basis.to(waveform) @ magnitude
        return rearrange(mel.clamp(min=FLOOR).log(), "(b c) bin t -> b c bin t", b=waveform.shape[0])
