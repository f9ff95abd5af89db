"""Parts of a clip, cut at the borders of its latents, video and sound together."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from ..errors import LTX2Error
from ..geometry import AUDIO_LATENTS_PER_SECOND
from ..latents import KEY, Clip, Latent, clip_of, samples_of
from .timeline import (
    check_finished,
    check_pair,
    duration,
    latents_holding,
    latents_spanning,
    sound_from,
    sound_until,
    time_range,
)

logger = logging.getLogger("ltx2")


def trim(
    video: Latent | None, audio: Latent | None, start: float, end: float
) -> tuple[Latent | None, Latent | None, float]:
    """(video, audio, seconds): the part of a clip from `start` to `end`, at the nearest borders of video latents.

    Video that is cut off its beginning continues a longer clip: its first latent holds eight frames, of which the last
    one is its time 0. Its sound begins there, less than one latent (0.04 s) later.

    Args:
        start, end: seconds. A negative start and an end of 0 or less count from the end of the clip.

    Raises:
        LTX2Error: a range that the clip does not have; a clip with masks or guides; latents of two clips.
    """
    check_pair(video, audio)
    check_finished(video, "video")
    check_finished(audio, "audio")
    begin, stop = time_range(start, end, duration(video, audio))
    results: list[Latent | None] = [None, None]
    if video is None:
        num_sounds = samples_of(audio, "audio").shape[2]
        first = min(round(begin * AUDIO_LATENTS_PER_SECOND), num_sounds - 1)
        results[1] = _part(audio, "audio", first, round(stop * AUDIO_LATENTS_PER_SECOND))
    else:
        rate, num_latents = clip_of(video).frame_rate, samples_of(video, "video").shape[2]
        first, last = _borders(start, end, num_latents, rate)
        results[0] = _part(video, "video", first, last)
        if audio is not None:
            num_sounds = samples_of(audio, "audio").shape[2]
            wanted = sound_until(last - first, rate)
            # A clip that was cut before may lack one latent already; two would make it another clip's sound.
            sound = min(sound_from(first, rate), num_sounds - (wanted - 1))
            if sound >= num_sounds:
                raise LTX2Error(
                    f"a part of a clip with sound must hold some of it; got {last - first} video latents from "
                    f"{begin:.3f} s, and the sound ends at {num_sounds / AUDIO_LATENTS_PER_SECOND:g} s: take 0.2 s more"
                )
            # At the end of the clip no sound is left behind, whatever the rounding.
            until = num_sounds if last == num_latents else sound + wanted
            results[1] = _part(audio, "audio", sound, until)
    seconds = duration(*results)
    logger.info("trimmed to %.3f s: %.3f to %.3f s were asked for", seconds, begin, stop)
    return results[0], results[1], seconds


def _borders(start: float, end: float, num_latents: int, rate: float) -> tuple[int, int]:
    """The latents from and to which a range reaches; the last seconds are as long as a clip of these seconds."""
    first = num_latents - latents_holding(-start, rate) if start < 0 else latents_spanning(start, rate)
    last = latents_holding(end, rate) if end > 0 else num_latents - latents_spanning(-end, rate)
    return max(first, 0), last


def _part(latent: Any, what: str, first: int, last: int) -> Latent:
    """Latents first to last (not included), at least one."""
    samples = samples_of(latent, what)
    part = {**latent, "samples": samples[:, :, first : max(last, first + 1)].clone()}
    if first:
        clip = latent[KEY] if isinstance(latent.get(KEY), Clip) else clip_of(latent)
        part[KEY] = replace(clip, continues=True)
    return part
