"""Seconds of a clip and its latents; what an edit asks of the latents that it gets.

A clip's time 0 is its first frame. Its video latents end at frames 1, 9, 17, ...; the first one holds one frame, or,
where the clip continues a longer one, seven more that lie before time 0. Sound has 25 latents a second.
"""

from __future__ import annotations

import math

from ..errors import LTX2Error
from ..geometry import AUDIO_LATENTS_PER_SECOND, FRAMES_PER_LATENT, LIMIT_SECONDS, audio_latents, pixel_frames
from ..latents import KEY, Clip, Latent, clip_of, is_unfinished, samples_of, states_of

Pair = tuple[Latent | None, Latent | None]

_ROUNDING = 0.001
_A = {"video": "a video", "audio": "an audio"}


def check_pair(video: Latent | None, audio: Latent | None) -> None:
    """Raises LTX2Error unless there is a video or an audio latent, and the two belong to one clip."""
    if video is None and audio is None:
        raise LTX2Error("a video or an audio latent must be connected; got neither: connect LTX-2 Encode Video")
    states_of(video, audio)


def check_finished(latent: Latent | None, what: str) -> None:
    """Raises LTX2Error where a "video" or "audio" LATENT waits to be sampled: masks, guides and noise name places."""
    if latent is None:
        return
    clip = latent.get(KEY)
    waiting = {
        "noise": is_unfinished(latent),
        "guides": isinstance(clip, Clip) and bool(clip.conditions),
        "a mask": latent.get("noise_mask") is not None,
    }
    if found := [name for name, there in waiting.items() if there]:
        raise LTX2Error(
            f"{_A[what]} latent must have neither mask nor guides, nor noise of a run that stopped above 0, when its "
            f"length changes; it has {found[0]}: sample it to the end first, or change the length before"
        )


def continues(latent: Latent) -> bool:
    """Whether a LATENT was cut out of a longer one."""
    clip = latent.get(KEY)
    return isinstance(clip, Clip) and clip.continues


def duration(video: Latent | None, audio: Latent | None) -> float:
    """Seconds of a clip: of its video where it has one, else of its sound."""
    if video is not None:
        return pixel_frames(samples_of(video, "video").shape[2]) / clip_of(video).frame_rate
    return samples_of(audio, "audio").shape[2] / AUDIO_LATENTS_PER_SECOND


def time_range(start: float, end: float, length: float) -> tuple[float, float]:
    """(start, end) counted from the start of a clip of `length` seconds.

    A negative start counts from the end of the clip, and so does an end of 0 or less: 0 is the end itself.

    Raises:
        LTX2Error: a start or an end outside the clip, or no time between them.
    """
    from_start = length + start if start < 0 else start
    from_end = length + end if end <= 0 else end
    # A length that was read as a rounded number and typed in again is the clip's own.
    if -_ROUNDING < from_start < 0:
        from_start = 0.0
    if 0 < from_end - length < _ROUNDING:
        from_end = length
    if not 0 <= from_start < from_end <= length:
        raise LTX2Error(
            f"start and end must enclose a part of the clip, which lasts {length:.3f} s; got {start:g} to {end:g}, "
            f"which is {from_start:.3f} to {from_end:.3f}: a start below 0 and an end of 0 or less count from the end"
        )
    return from_start, from_end


def latents_spanning(seconds: float, frame_rate: float) -> int:
    """How many video latents span `seconds`: those from 8 frames to the next, so that they hold no frame twice."""
    return round(seconds * frame_rate / FRAMES_PER_LATENT)


def latents_holding(seconds: float, frame_rate: float) -> int:
    """How many latents a clip of about `seconds` has, at least one."""
    return max(1, round((seconds * frame_rate - 1) / FRAMES_PER_LATENT) + 1)


def check_limit(num_latents: int, frame_rate: float | None) -> None:
    """Raises LTX2Error where a clip of so many video latents (without frame rate: of sound) is too long to sample.

    What counts is the middle of the last latent.
    """
    if frame_rate is None:
        seconds, middle = num_latents / AUDIO_LATENTS_PER_SECOND, (num_latents - 1) / AUDIO_LATENTS_PER_SECOND
    else:
        frames = pixel_frames(num_latents)
        seconds, middle = frames / frame_rate, (frames - FRAMES_PER_LATENT / 2) / frame_rate
    if middle > LIMIT_SECONDS:
        raise LTX2Error(
            f"a clip must fit into the {LIMIT_SECONDS} s that the model can place; got {seconds:.2f} s: trim the clip "
            "to its last seconds, extend these, and join the result to the clip (LTX-2 Trim Latents, LTX-2 Join "
            "Latents)"
        )


def sound_until(num_latents: int, frame_rate: float) -> int:
    """How many audio latents accompany the first `num_latents` video latents of a clip."""
    return max(1, audio_latents(pixel_frames(num_latents), frame_rate)) if num_latents else 0


def sound_from(num_latents: int, frame_rate: float) -> int:
    """Where the sound of a clip is cut that continues behind `num_latents` video latents.

    Rounded up: what is cut off here is never longer, counted from there, than the rest of the clip's sound, so that a
    clip that was trimmed, extended and joined again has a latent of sound for every place.
    """
    return math.ceil(num_latents * FRAMES_PER_LATENT * AUDIO_LATENTS_PER_SECOND / frame_rate)
