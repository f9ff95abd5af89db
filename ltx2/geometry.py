"""Sizes: pixels, frames and seconds <-> latents and tokens. No tensors here.

Every released model has the same geometry: a video latent covers 8 frames (the first one covers 1) and 32 x 32 pixels,
and sound has 25 latents a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import LTX2Error

FRAMES_PER_LATENT = 8
PIXELS_PER_LATENT = 32
AUDIO_LATENTS_PER_SECOND = 25
#: Positions of the released models end here.
LIMIT_SECONDS = 20

#: Seeds beyond 2^53 would be rounded by a browser.
MAX_SEED = 2**53 - 1


def latent_frames(frames: int) -> int:
    """How many latents hold `frames` (8n + 1) frames."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def pixel_frames(latents: int) -> int:
    """How many frames `latents` latents decode to."""
    return (latents - 1) * FRAMES_PER_LATENT + 1


def audio_latents(frames: int, frame_rate: float) -> int:
    """How many audio latents accompany `frames` frames: the nearest to their duration."""
    return round(frames / frame_rate * AUDIO_LATENTS_PER_SECOND)


def check_frames(frames: int) -> None:
    """Raises LTX2Error unless `frames` is 8n + 1."""
    if frames < 1 or (frames - 1) % FRAMES_PER_LATENT:
        below = max(1, (frames - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1)
        nearest = f"{below}, {below + FRAMES_PER_LATENT}" if frames > 1 else f"{below}"
        raise LTX2Error(f"frames must be 8n + 1; got {frames} (nearest: {nearest})")


def check_size(name: str, value: int, multiple: int, why: str = "") -> None:
    """Raises LTX2Error unless `value` pixels are a positive multiple of `multiple`."""
    if value < multiple or value % multiple:
        below = max(multiple, value // multiple * multiple)
        nearest = f"{below}" if value < multiple else f"{below}, {below + multiple}"
        raise LTX2Error(f"{name} must be a multiple of {multiple}{why}; got {value} (nearest: {nearest})")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raises LTX2Error unless `value` is in [least, most]."""
    if not least <= value <= most:
        raise LTX2Error(f"{name} must be {least} to {most}; got {value} (nearest: {min(max(value, least), most)})")


def check_frame_rate(frame_rate: float) -> None:
    """Raises LTX2Error unless `frame_rate` is a finite number above 0."""
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        raise LTX2Error(f"frame rate must be above 0 frames per second; got {frame_rate} (usual: 24, 25, 30)")


@dataclass(frozen=True)
class Canvas:
    """The size of the final clip: pixels, frames, frames per second.

    Raises:
        LTX2Error: width or height no multiple of 32, frames not 8n + 1, frame rate not above 0.
    """

    width: int
    height: int
    frames: int
    frame_rate: float

    def __post_init__(self) -> None:
        check_size("width", self.width, PIXELS_PER_LATENT)
        check_size("height", self.height, PIXELS_PER_LATENT)
        check_frames(self.frames)
        check_frame_rate(self.frame_rate)

    def video_shape(self, channels: int, shrink: int = 1, batch: int = 1) -> tuple[int, int, int, int, int]:
        """[B, C, F, H, W] of the video latent at 1/shrink of the size.

        Raises:
            LTX2Error: width or height no multiple of 32 * shrink.
        """
        step = PIXELS_PER_LATENT * shrink
        why = "" if shrink == 1 else f" when the first stage works at 1/{shrink} of the size"
        check_size("width", self.width, step, why)
        check_size("height", self.height, step, why)
        return batch, channels, latent_frames(self.frames), self.height // step, self.width // step

    def audio_shape(self, channels: int, bins: int, batch: int = 1) -> tuple[int, int, int, int]:
        """[B, C, T, bins] of the audio latent."""
        return batch, channels, max(1, audio_latents(self.frames, self.frame_rate)), bins
