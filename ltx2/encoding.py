"""Clips and sounds to latents.

Shapes:
    B C     batch, latent channels
    F H W   frames, height and width in pixels (f h w: in latents)
    T bins  audio latents (25 a second), bins of each
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import LTX2Error
from .geometry import FRAMES_PER_LATENT, PIXELS_PER_LATENT, Canvas
from .latents import Latent, samples_of
from .media.audio import require_finite
from .media.frame_rate import frame_rate_fraction
from .media.image import cover
from .networks.audio_vae.mel import as_channels, log_mel
from .networks.audio_vae.model import AudioVAE
from .networks.video_vae import VideoVAE
from .runtime.tiled_vae import encode_frames
from .runtime.tiling import Tiling

Audio = dict[str, Any]

_log = logging.getLogger("ltx2")


class Footage(Protocol):
    """What is encoded: a file or pictures in memory (`media.reader`), from the moment on that was chosen."""

    width: int
    height: int
    frame_rate: Fraction
    seconds: Fraction

    def frames(self, rate: Fraction, count: int) -> Iterator[Tensor]:
        """`count` pictures (H, W, 3), uint8, at a constant rate."""
        ...

    def sound(self, seconds: Fraction) -> Audio | None:
        """The AUDIO of the first `seconds`; None where there is none."""
        ...


def own_canvas(footage: Footage) -> Canvas:
    """The footage's own size, length and rate; what the VAE cannot take at the edges and the end is cut, and said.

    Raises: LTX2Error where it is smaller than a latent.
    """
    width, height = (side // PIXELS_PER_LATENT * PIXELS_PER_LATENT for side in (footage.width, footage.height))
    if not width or not height:
        raise LTX2Error(
            f"a video must be at least {PIXELS_PER_LATENT}x{PIXELS_PER_LATENT} pixels; {footage!r} is "
            f"{footage.width}x{footage.height}: connect LTX-2 Canvas to enlarge it"
        )
    count = max(1, round(footage.seconds * footage.frame_rate))
    frames = (count - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1
    if (width, height, frames) != (footage.width, footage.height, count):
        _log.info(
            "%r has %d frames of %dx%d; its first %d are encoded, cropped to %dx%d",
            *(footage, count, footage.width, footage.height, frames, width, height),
        )
    return Canvas(width, height, frames, float(footage.frame_rate))


def encode_footage(
    vae: VideoVAE,
    footage: Footage,
    canvas: Canvas,
    *,
    tiling: Tiling | None,
    device: torch.device,
    dtype: torch.dtype,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The footage's first frames as a normalised latent [1, C, f, h, w] of the size, length and rate of `canvas`.

    Pictures are taken at the canvas's rate, the nearest in time each, are scaled to cover it and cropped around their
    centre. They are read while they are encoded: no more than one tile in time is in memory.

    Raises: LTX2Error where the footage is shorter than the canvas, or damaged.
    """
    rate = frame_rate_fraction(canvas.frame_rate)
    count = max(1, round(footage.seconds * rate))
    if count < canvas.frames:
        fitting = (count - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1
        raise LTX2Error(
            f"a video must be as long as the canvas, {canvas.frames} frames at {canvas.frame_rate:g} per second; "
            f"{footage!r} has {count} from its start on: set frames to {fitting}, or start earlier"
        )
    fit = partial(_covering, width=canvas.width, height=canvas.height)
    frames = map(fit, footage.frames(rate, canvas.frames))
    size = canvas.frames, canvas.height, canvas.width
    latent = encode_frames(vae, frames, size, tiling, device=device, dtype=dtype, on_step=on_step).float().cpu()
    require_finite(latent, "video VAE encode")
    return latent


def sound_of(footage: Footage, canvas: Canvas) -> Audio | None:
    """The footage's own AUDIO while the canvas lasts, not encoded; None where it is silent."""
    return footage.sound(canvas.frames / frame_rate_fraction(canvas.frame_rate))


def _covering(picture: Tensor, *, width: int, height: int) -> Tensor:
    """(H, W, 3) uint8 -> (height, width, 3) uint8"""
    planes = picture.permute(2, 0, 1)[None]
    if max(height / picture.shape[0], width / picture.shape[1]) == 1:  # nothing to scale: values stay as they are
        return cover(planes, width, height)[0].permute(1, 2, 0)
    return cover(planes.float(), width, height)[0].round().to(torch.uint8).permute(1, 2, 0)


def frozen(latent: Latent) -> Latent:
    """A copy of a video or audio LATENT that sampling leaves as it is: its noise mask is 0 everywhere."""
    samples = latent.get("samples") if isinstance(latent, dict) else None
    kind = "audio" if isinstance(samples, Tensor) and samples.ndim == 4 else "video"
    samples = samples_of(latent, kind)
    ones = (1,) * (samples.ndim - 3)
    return {**latent, "noise_mask": torch.zeros(samples.shape[0], 1, samples.shape[2], *ones)}


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
    """(waveform [B, channels, samples] fp32, Hz) of an AUDIO. Raises LTX2Error for none, an empty one, NaN."""
    if audio is None:
        raise LTX2Error("a sound must be there to be encoded; got none: the video is silent; connect another AUDIO")
    waveform = audio.get("waveform") if isinstance(audio, dict) else None
    if not isinstance(waveform, Tensor) or waveform.ndim != 3 or "sample_rate" not in audio:
        got = f"a waveform {tuple(waveform.shape)}" if isinstance(waveform, Tensor) else type(audio).__name__
        raise LTX2Error(
            f"audio must be an AUDIO, a waveform (batch, channels, samples) with its sample rate; got {got}: connect a "
            "node that gives sound"
        )
    rate = int(audio["sample_rate"])
    if not waveform.numel() or rate <= 0:
        raise LTX2Error(
            f"a sound must have samples, and its sampling rate must be positive; got {tuple(waveform.shape)} at {rate} "
            "Hz: connect another AUDIO"
        )
    require_finite(waveform, "the node that made the audio")
    return waveform.detach().cpu().float(), rate


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
