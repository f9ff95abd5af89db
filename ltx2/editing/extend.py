"""Clips that go on, or begin earlier: room for new latents, and masks that keep the old ones.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T audio latents.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..conditioning.frames import AppendedFrames
from ..errors import LTX2Error
from ..geometry import AUDIO_LATENTS_PER_SECOND, FRAMES_PER_LATENT
from ..latents import KEY, Clip, Latent, clip_of, samples_of, with_conditions
from .timeline import check_finished, check_limit, check_pair, continues, latents_spanning, sound_until

logger = logging.getLogger("ltx2")

DIRECTIONS = ("after", "before")


def extend(
    video: Latent | None, audio: Latent | None, seconds: float, direction: str = "after"
) -> tuple[Latent | None, Latent | None, float]:
    """(video, audio, seconds added): the clip with about `seconds` more, to be sampled.

    Video grows by whole latents (8 frames), at least one; sound to the length of the video, or, alone, by itself. New
    latents start at zero and have mask 1, old ones keep their values and have mask 0.

    Before a clip, its first latent cannot stay: it holds a single frame, and in the middle of a clip latents hold
    eight. It is generated anew, guided by that frame as a keyframe. Where the clip continues a longer one, its first
    latent is a full one and stays. The first latent of sound (one mel frame instead of four) is generated anew too.

    Raises:
        LTX2Error: seconds of 0 or less; an unknown direction; a clip with masks or guides; more than 20 s in all.
    """
    check_pair(video, audio)
    check_finished(video, "video")
    check_finished(audio, "audio")
    if direction not in DIRECTIONS:
        raise LTX2Error(f"direction must be {' or '.join(DIRECTIONS)}; got {direction}")
    if not 0 < seconds < math.inf:
        raise LTX2Error(f"seconds must be above 0; got {seconds:g}: say how much the clip grows")
    before = direction == "before"
    if video is None:
        count = max(1, round(seconds * AUDIO_LATENTS_PER_SECOND))
        check_limit(samples_of(audio, "audio").shape[2] + count, None)
        added = count / AUDIO_LATENTS_PER_SECOND
        result = None, _longer(audio, "audio", count, before), added
    else:
        rate, num_old = clip_of(video).frame_rate, samples_of(video, "video").shape[2]
        count = max(1, latents_spanning(seconds, rate))
        check_limit(num_old + count, rate)
        added = count * FRAMES_PER_LATENT / rate
        longer = _longer(video, "video", count, before)
        if before and not continues(video):
            first = samples_of(video, "video")[:, :, :1].float()
            longer = with_conditions(longer, (AppendedFrames(first, frame=count * FRAMES_PER_LATENT, num_frames=1),))
        if audio is not None:
            missing = max(0, sound_until(num_old + count, rate) - samples_of(audio, "audio").shape[2])
            audio = _longer(audio, "audio", missing, before)
        result = longer, audio, added
    logger.info("the clip grows by %.3f s (%g were asked for), %s it", added, seconds, direction)
    return result


def _longer(latent: Any, what: str, count: int, before: bool) -> Latent:
    """A video or audio LATENT with `count` empty latents before or behind it, and the mask that generates these."""
    samples = samples_of(latent, what)
    shape = list(samples.shape)
    shape[2] = count
    empty = samples.new_zeros(shape)
    if not before:
        return {**latent, "samples": torch.cat((samples, empty), 2), "noise_mask": _mask(samples, count, what)}
    kept = samples
    if not continues(latent):
        # A short first latent has no place in the middle of a clip.
        kept, empty = samples[:, :, 1:], torch.cat((empty, torch.zeros_like(samples[:, :, :1])), 2)
    longer = {**latent, "samples": torch.cat((empty, kept), 2), "noise_mask": _mask(kept, empty.shape[2], what).flip(2)}
    clip = latent.get(KEY)
    return {**longer, KEY: replace(clip, continues=False)} if isinstance(clip, Clip) else longer


def _mask(kept: Tensor, count: int, what: str) -> Tensor:
    """[1, 1, F, 1, 1] or [1, 1, T, 1]: zeros for the kept latents, then ones for `count` new ones."""
    mask = torch.cat((torch.zeros(kept.shape[2]), torch.ones(count)))
    return mask[None, None, :, None, None] if what == "video" else mask[None, None, :, None]
