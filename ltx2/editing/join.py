"""Two clips as one, cross-faded where they overlap, video and sound together.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T audio latents.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..geometry import AUDIO_LATENTS_PER_SECOND, FRAMES_PER_LATENT
from ..latents import Latent, clip_of, samples_of
from .timeline import Pair, check_finished, check_pair, continues, duration, latents_holding, sound_from, sound_until

logger = logging.getLogger("ltx2")


def join(first: Pair, second: Pair, overlap: float) -> tuple[Latent | None, Latent | None, float]:
    """(video, audio, seconds): `first`, then `second`, whose beginning lies over the end of `first`.

    In the overlap the first fades into the second, linearly from latent to latent, and its first latent is the first
    clip's: an overlap of one latent is a hard cut. Where both are equal the result is exactly that. Sound is as long
    as the video asks for; rounding can cut or hold its last latent (0.04 s).

    Args:
        overlap: seconds, as LTX-2 Trim Latents counts the last seconds of a clip. 0 puts the clips behind each other,
            silent video that continues a longer clip only: others have no full first latent, or no sound there.

    Raises:
        LTX2Error: clips of another kind, size or frame rate; clips with masks or guides; an overlap that is longer
            than one of them, or too short.
    """
    for video, audio in (first, second):
        check_pair(video, audio)
        check_finished(video, "video")
        check_finished(audio, "audio")
    _check_alike(first, second)
    if not 0 <= overlap < math.inf:
        raise LTX2Error(f"overlap must be 0 s or more; got {overlap:g}")
    if first[0] is None:
        num_shared = round(overlap * AUDIO_LATENTS_PER_SECOND)
        start = _start(first[1], second[1], "audio", num_shared)
        video, total = None, start + samples_of(second[1], "audio").shape[2]
    else:
        rate = clip_of(first[0]).frame_rate
        num_shared = latents_holding(overlap, rate) if overlap else 0
        start = _start(first[0], second[0], "video", num_shared)
        video = _joined(first[0], second[0], "video", start)
        total = sound_until(video["samples"].shape[2], rate)
        if first[1] is not None:
            start = _start_of_sound(first, second, num_shared, start, rate)
    audio = None if first[1] is None else _fitted(_joined(first[1], second[1], "audio", start), total)
    return video, audio, duration(video, audio)


def _check_alike(first: Pair, second: Pair) -> None:
    for number, what in enumerate(("video", "audio")):
        one, other = first[number], second[number]
        if (one is None) != (other is None):
            raise LTX2Error(
                f"both clips must have the same kinds of latents; only the {'second' if one is None else 'first'} has "
                f"{what}: connect or disconnect the other's"
            )
        if one is None:
            continue
        sizes = [[n for axis, n in enumerate(samples_of(each, what).shape) if axis != 2] for each in (one, other)]
        if sizes[0] != sizes[1]:
            raise LTX2Error(
                f"the {what} latents of joined clips must have one size; got {sizes[0]} and {sizes[1]} besides their "
                "length: encode or sample them at one size"
            )
    if first[0] is not None and clip_of(first[0]).frame_rate != clip_of(second[0]).frame_rate:
        rates = [clip_of(video).frame_rate for video in (first[0], second[0])]
        raise LTX2Error(
            f"joined clips must have one frame rate; got {rates[0]:g} and {rates[1]:g}: encode one anew at the other's"
        )


def _start(first: Latent | None, second: Latent | None, what: str, num_shared: int) -> int:
    """The latent of the joined clip at which the second begins."""
    lengths = samples_of(first, what).shape[2], samples_of(second, what).shape[2]
    if num_shared > lengths[0] or num_shared >= lengths[1]:
        raise LTX2Error(
            f"an overlap must leave something of the second clip, and be no longer than the first; got {num_shared} "
            f"latents of {lengths[0]} and {lengths[1]}: make it shorter"
        )
    if not num_shared and not continues(second):
        raise LTX2Error(
            f"the second clip's first {what} latent is shorter than others, as clips begin, and cannot stand behind "
            "another clip; got an overlap of 0: an overlap of one latent covers it (0.1 s, a hard cut), or cut it off "
            "with LTX-2 Trim Latents"
        )
    return lengths[0] - num_shared


def _start_of_sound(first: Pair, second: Pair, num_shared: int, start: int, rate: float) -> int:
    """The audio latent at which the second clip's sound begins, where its video begins at latent `start`."""
    if not num_shared:
        raise LTX2Error(
            "clips with sound must overlap by one latent at least, for the second one's sound begins at its time 0, "
            f"{FRAMES_PER_LATENT - 1} frames after its first latent; got an overlap of 0: 0.1 s is a hard cut"
        )
    length = samples_of(first[1], "audio").shape[2]
    # What was trimmed off is put back where it was cut; a clip's own beginning stands where LTX-2 Extend left it.
    place = sound_from(start, rate) if continues(second[0]) else length - sound_until(num_shared, rate)
    return max(0, min(place, length))


def _joined(first: Any, second: Any, what: str, start: int) -> Latent:
    """`first` with `second` laid over it from latent `start` on; the rest of `first` is what they share."""
    one, other = samples_of(first, what), samples_of(second, what)
    num_shared = min(one.shape[2] - start, other.shape[2])
    weight = torch.arange(num_shared, dtype=torch.float32, device=one.device) / max(num_shared, 1)
    weight = weight.reshape(-1, *[1] * (one.ndim - 3))
    shared = one[:, :, start : start + num_shared]
    # In this form equal latents stay equal to the last bit.
    faded = shared + weight * (other[:, :, :num_shared] - shared)
    dtype = torch.promote_types(one.dtype, other.dtype)
    joined = torch.cat((one[:, :, :start], faded.to(dtype), other[:, :, num_shared:]), 2)
    return {**first, "samples": joined}


def _fitted(audio: Latent, length: int) -> Latent:
    """`audio` at `length` latents: the last one is cut off or held."""
    samples: Tensor = audio["samples"]
    missing = length - samples.shape[2]
    if missing > 0:
        logger.info("the joined sound ends %.2f s before the video: its last latent is held", missing / 25)
        samples = torch.cat((samples, samples[:, :, -1:].expand(-1, -1, missing, -1)), 2)
    return {**audio, "samples": samples[:, :, :length]}
