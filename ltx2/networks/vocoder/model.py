"""The vocoder: log-mel to waveform. One generator in 2.0; from 2.3 on a bandwidth extension behind it.

Shapes: log-mel (B, 2, T, bins); waveform (B, 2, samples).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...config.vocoder import VocoderConfig
from ...errors import LTX2Error
from ...media.resample import resample
from ...packages import rearrange
from .analysis import MelSTFT
from .generator import CHANNELS, Generator


class Vocoder(nn.Module):
    """`Vocoder(config)` is the vocoder that `config` describes: a `PlainVocoder` or an `ExtendedVocoder`.

    Two classes, because checkpoints name the parameters of the two differently; callers need not know.

    Attributes:
        sample_rate: Hz of the waveform that comes out.
        mel_bins: Bins of the log-mel that goes in.
    """

    sample_rate: int
    mel_bins: int

    def __new__(cls, config: VocoderConfig | None = None) -> Vocoder:
        chosen: type[Vocoder] = cls
        if cls is Vocoder and config is not None:
            chosen = ExtendedVocoder if config.extension else PlainVocoder
        return object.__new__(chosen)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-mel (B, 2, T, bins) -> waveform (B, 2, samples) in [-1, 1].

        In float32 whatever the dtype of mel and weights: bfloat16 costs 40 to 90 % of the spectral accuracy.
        Raises LTX2Error for another shape.
        """
        if mel.ndim != 4 or (mel.shape[1], mel.shape[3]) != (CHANNELS, self.mel_bins) or not mel.shape[2]:
            raise LTX2Error(
                f"the mel spectrogram must be (batch, {CHANNELS}, frames, {self.mel_bins}); got {tuple(mel.shape)}; "
                "use the audio VAE that belongs to this vocoder"
            )
        with torch.autocast(mel.device.type, enabled=False), _exact_convolutions():
            return self.synthesise(mel.float())

    def synthesise(self, mel: torch.Tensor) -> torch.Tensor:
        """`forward` without its checks, in the dtype of `mel`."""
        raise NotImplementedError


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """cuDNN rounds fp32 convolutions to TF32 unless told otherwise, which is hardly better than bfloat16."""
    # Not `cudnn.flags`: it fails where anybody has told torch so for convolutions or for all of it.
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    kept, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = kept


class PlainVocoder(Vocoder, Generator):
    """2.0: the generator alone."""

    def __init__(self, config: VocoderConfig) -> None:
        Generator.__init__(self, config.generator)
        self.sample_rate = config.sampling_rate
        self.mel_bins = config.generator.mel_bins

    def synthesise(self, mel: torch.Tensor) -> torch.Tensor:
        return Generator.forward(self, mel)


class ExtendedVocoder(Vocoder):
    """2.3: a generator at the low rate; from what it made, a second one adds the higher frequencies."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        extension = config.extension
        assert extension is not None
        self.sample_rate = extension.output_sampling_rate
        self.low_rate = extension.input_sampling_rate
        self.mel_bins = config.generator.mel_bins
        self.vocoder = Generator(config.generator)
        self.mel_stft = MelSTFT(extension)
        self.bwe_generator = Generator(extension.generator)

    def synthesise(self, mel: torch.Tensor) -> torch.Tensor:
        low = self.vocoder(mel)
        padded = self.pad(low)
        waveform = (self.residual(self.analyse(padded)) + self.skip(padded)).clamp(-1, 1)
        return waveform[..., : low.shape[-1] * self.sample_rate // self.low_rate]

    def pad(self, low: torch.Tensor) -> torch.Tensor:
        """The low-rate waveform continued with silence to a whole number of analysis hops."""
        return F.pad(low, (0, -low.shape[-1] % self.mel_stft.hop_length))

    def analyse(self, low: torch.Tensor) -> torch.Tensor:
        """Log-mel (B, 2, bins, frames) of the padded low-rate waveform."""
        return self.mel_stft(low)

    def residual(self, log_mel: torch.Tensor) -> torch.Tensor:
        """What to add to the resampled waveform, at the high rate."""
        return self.bwe_generator(rearrange(log_mel, "b c bin t -> b c t bin"))

    def skip(self, low: torch.Tensor) -> torch.Tensor:
        """The low-rate waveform at the high rate, its edges continued with their own samples."""
        return resample(low, self.low_rate, self.sample_rate, edge="replicate")
