"""ComfyUI's VIDEO values as what the library reads: by stream where they are files, else from memory."""

from __future__ import annotations

import inspect
from fractions import Fraction
from typing import Any

from ...ltx2.errors import LTX2Error
from ...ltx2.media.reader import Pictures, VideoFile


def footage_of(video: Any, start: float) -> VideoFile | Pictures:
    """The VIDEO from `start` seconds on.

    Raises: LTX2Error where it is no VIDEO, or cannot be read.
    """
    if not hasattr(video, "get_components"):
        raise LTX2Error(f"video must be a VIDEO or an IMAGE; got {type(video).__name__}: connect Load Video")
    if not _streams(video):
        parts = video.get_components()
        return Pictures(parts.images, Fraction(parts.frame_rate), parts.audio, start)
    first, duration = video.get_active_trim_window() if hasattr(video, "get_active_trim_window") else (0.0, 0.0)
    if duration and start >= duration:
        raise LTX2Error(
            f"the start must lie within the video, which lasts {duration:g} s; got {start:g} s: choose an earlier one"
        )
    return VideoFile(video.get_stream_source(), first + start, duration - start if duration else 0.0)


def _streams(video: Any) -> bool:
    """Whether the value is a file that can be read as it is.

    The default of ComfyUI's abstract class writes the pictures of others to a file, compressed. A version that can
    trim a file but not say where it has been trimmed cannot be read from the file either.
    """
    owner = next((cls for cls in type(video).__mro__ if "get_stream_source" in vars(cls)), None)
    says_window = hasattr(video, "get_active_trim_window") or not hasattr(video, "as_trimmed")
    return owner is not None and not inspect.isabstract(owner) and says_window
