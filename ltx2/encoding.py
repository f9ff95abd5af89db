"""Clips and sounds to latents.

Shapes: B batch, C latent channels, T audio latents (25 a second), bins of the audio latent.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import LTX2Error
from .media.audio import require_finite
from .networks.audio_vae.mel import as_channels, log_mel
from .networks.audio_vae.model import AudioVAE

Audio = dict[str, Any]


def encode_sound(
    vae: AudioVAE,
    audio: Audio | None,
    *,
    start: float = 0.0,
    length: int | None = None,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """ComfyUI's AUDIO from `start` seconds on as a normalised latent [B, C, T, bins], fp32 on the CPU.

    Mono is heard on both channels; any sample rate is converted to the VAE's. With a `length` (in latents) a longer
    sound is cut to it, and a shorter one goes on as silence: its samples are padded before they are encoded, for a
    latent of zeros is the average sound, which is a hum, and none at all.

    Raises: LTX2Error for a missing sound, more than two channels, NaN, a `start` outside of it, too short a sound.
    """
    waveform, rate = waveform_of(audio)
    first = round(start * rate)
    if not 0 <= first < waveform.shape[-1]:
        raise LTX2Error(
            f"the start must lie within the sound, which lasts {waveform.shape[-1] / rate:.3f} s; got {start:g} s: "
            "choose an earlier one"
        )
    waveform = waveform[..., first:]
    if length is not None:
        waveform = _fitted(waveform, samples_heard(vae, length, rate))
    mel = log_mel(as_channels(waveform, vae.config.in_channels).to(device), rate, vae.config)
    latent = vae.encode(mel.to(dtype)).float().cpu()
    require_finite(latent, "audio VAE encode")
    return latent[:, :, :length]


def waveform_of(audio: Audio | None) -> tuple[Tensor, int]:
    """(waveform [B, channels, samples] fp32, Hz) of an AUDIO. Raises LTX2Error where it is none, or holds NaN."""
    if audio is None:
        raise LTX2Error("a sound must be there to be encoded; got none: the video is silent; connect another AUDIO")
    waveform = audio.get("waveform") if isinstance(audio, dict) else None
    if not isinstance(waveform, Tensor) or waveform.ndim != 3 or "sample_rate" not in audio:
        got = f"a waveform {tuple(waveform.shape)}" if isinstance(waveform, Tensor) else type(audio).__name__
        raise LTX2Error(
            f"audio must be an AUDIO, a waveform (batch, channels, samples) with its sample rate; got {got}: connect a "
            "node that gives sound"
        )
    require_finite(waveform, "the node that made the audio")
    return waveform.detach().cpu().float(), int(audio["sample_rate"])


def samples_heard(vae: AudioVAE, length: int, rate: int) -> int:
    """How many samples at `rate` Hz the first `length` latents depend on, at most.

    The encoder is causal, the spectrum looks half a window ahead, the change of rate a few samples more.
    """
    config = vae.config
    mel_frames = config.ratio * length
    return -(-(mel_frames * config.hop_length + config.fft_length) * rate // config.sampling_rate)


def _fitted(waveform: Tensor, count: int) -> Tensor:
    """`count` samples of `waveform` (..., samples), silence where it has no more."""
    return F.pad(waveform[..., :count], (0, max(0, count - waveform.shape[-1])))
