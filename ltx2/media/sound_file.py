"""Sound files: any that FFmpeg reads as ComfyUI's AUDIO, and FLAC written.

Shapes: waveform (1, C, T) read, (C, T) written: channels, samples
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import LTX2Error
from ..packages import av
from .audio import require_finite
from .partial_file import explained_errors, partial_file


def load_sound(path: str | Path) -> dict[str, Any]:
    """The first sound of an audio or video file, whole, at its own rate, with all its channels.

    Raises: LTX2Error where the file is missing, damaged, or has no sound.
    """
    path = Path(path)
    if not path.is_file():
        raise LTX2Error(f"a sound file must exist to be read; got {path}; check the name and the folder")
    try:
        with av.open(str(path)) as container:
            stream = next((audio for audio in container.streams.audio if audio.codec_context is not None), None)
            if stream is None:
                raise LTX2Error(f"the file must have a sound; {path} has none; choose a file with sound")
            resampler = av.AudioResampler(format="fltp")
            frames = chain.from_iterable(map(resampler.resample, container.decode(stream)))
            pieces, rate = [frame.to_ndarray() for frame in frames], stream.codec_context.sample_rate
    except (av.FFmpegError, OSError) as error:
        raise LTX2Error(
            f"the file must be a sound; {path} cannot be read ({error.strerror}); convert it anew"
        ) from error
    if not pieces:
        raise LTX2Error(f"the file must have a sound; that of {path} is empty; choose another file")
    return {"waveform": torch.from_numpy(np.concatenate(pieces, axis=1))[None], "sample_rate": rate}


def save_flac(path: Path, waveform: Tensor, sample_rate: int, metadata: Mapping[str, str]) -> None:
    """Write a waveform (1 or 2 channels, samples) in [-1, 1] as 16-bit FLAC with these tags; others are clipped.

    Raises: LTX2Error for other shapes, NaN, and where the file cannot be written.
    """
    if waveform.ndim != 2 or waveform.shape[0] not in (1, 2) or not waveform.shape[1]:
        raise LTX2Error(
            f"a sound must be (1 or 2 channels, samples) to be saved; got {tuple(waveform.shape)}: mix it down"
        )
    require_finite(waveform, "the node that made the audio")
    layout = "mono" if waveform.shape[0] == 1 else "stereo"
    levels = (waveform.detach().cpu().float() * 2**15).round().clamp(-(2**15), 2**15 - 1).to(torch.int16)
    frame = av.AudioFrame.from_ndarray(levels.T.reshape(1, -1).numpy(), format="s16", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = sample_rate, Fraction(1, sample_rate), 0
    with partial_file(path) as temporary, explained_errors(path, temporary):
        with av.open(str(temporary), "w", format="flac") as container:
            container.metadata.update(metadata)
            stream = container.add_stream("flac", rate=sample_rate, layout=layout)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
