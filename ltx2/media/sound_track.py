"""The sound of a video file, in step with its pictures.

Shapes: C T   channels, samples
"""

from __future__ import annotations

import logging
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import LTX2Error
from ..packages import av

if TYPE_CHECKING:
    from av.container import InputContainer

# Containers round times: sound goes on where it was, unless a frame is later or earlier than this (seconds).
_GAP = Fraction(1, 20)
# What is decoded before the start, for decoders need a moment (seconds).
_LEAD = Fraction(1, 2)

_log = logging.getLogger("ltx2")


def read_sound(container: InputContainer, start: Fraction, seconds: Fraction) -> dict[str, Any] | None:
    """ComfyUI's AUDIO [1, C, T] from `start` on, at most `seconds`, at the file's rate; None without a sound there.

    More than two channels are mixed down to two. Where the sound begins later than `start`, or pauses, there is
    silence; where it ends earlier, the waveform does.

    Raises: LTX2Error where the sound is damaged.
    """
    stream = next(audio for audio in container.streams.audio if audio.codec_context is not None)
    rate, count = stream.codec_context.sample_rate, stream.codec_context.channels
    if count > 2:
        _log.info("the video's sound has %d channels; it is mixed down to two", count)
    resampler = av.AudioResampler(format="fltp", layout="mono" if count == 1 else "stereo", rate=rate)
    if start > _LEAD:
        container.seek(int((start - _LEAD) / stream.time_base), stream=stream)
    pieces: list[tuple[int, np.ndarray]] = []
    total, following = round(seconds * rate), None
    try:
        for frame in chain.from_iterable(map(resampler.resample, container.decode(stream))):
            first = round((frame.pts * frame.time_base - start) * rate)
            if following is not None and abs(first - following) < _GAP * rate:
                first = following
            if first >= total:
                break
            samples = frame.to_ndarray()
            pieces.append((first, samples))
            following = first + samples.shape[1]
    except av.FFmpegError as error:
        raise LTX2Error(
            f"the video's sound must be whole; it is damaged ({error.strerror}); convert it anew"
        ) from error
    return _joined([piece for piece in pieces if piece[0] + piece[1].shape[1] > 0], total, rate)


def _joined(pieces: list[tuple[int, np.ndarray]], total: int, rate: int) -> dict[str, Any] | None:
    if not pieces:
        return None
    length = min(total, max(first + samples.shape[1] for first, samples in pieces))
    waveform = np.zeros((pieces[0][1].shape[0], length), dtype=np.float32)
    for first, samples in pieces:
        start, stop = max(first, 0), min(first + samples.shape[1], length)
        waveform[:, start:stop] = samples[:, start - first : stop - first]
    return {"waveform": torch.from_numpy(waveform)[None], "sample_rate": rate}
