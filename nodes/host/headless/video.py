"""The VIDEO value: a file, with the methods of ComfyUI's VideoFromFile that the pack and its users call.

Shapes:
    images (T, H, W, 3) float 0-1; waveform (1, C, samples)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ....ltx2.errors import LTX2Error
from ....ltx2.media.probe import open_video, probe
from ....ltx2.media.remux import remux
from ....ltx2.packages import av


@dataclass
class VideoComponents:
    """A decoded video; `audio` is an AUDIO value."""

    images: torch.Tensor
    frame_rate: Fraction
    audio: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    alpha: torch.Tensor | None = None


class VideoFromFile:
    """A video in a file."""

    def __init__(self, file: str | Path):
        self._file = Path(file)

    def __repr__(self) -> str:
        return f"VideoFromFile({str(self._file)!r})"

    def get_stream_source(self) -> str:
        """What `av.open` takes."""
        return str(self._file)

    def get_dimensions(self) -> tuple[int, int]:
        """Width and height in pixels."""
        found = probe(self._file)
        return found.width, found.height

    def get_duration(self) -> float:
        """Seconds, of the whole file: sound may be a little longer than the pictures."""
        with open_video(self._file) as container:
            return (container.duration or 0) / av.time_base

    def get_frame_count(self) -> int:
        return probe(self._file).frames

    def get_frame_rate(self) -> Fraction:
        """Frames per second, on average."""
        return probe(self._file).frame_rate

    def get_container_format(self) -> str:
        with open_video(self._file) as container:
            return container.format.name

    def get_active_trim_window(self) -> tuple[float, float]:
        """(start, duration) in seconds of what the value stands for; this one is always its whole file."""
        return 0.0, 0.0

    def get_bit_depth(self) -> int:
        with open_video(self._file) as container:
            return max(component.bits for component in container.streams.video[0].format.components)

    def get_color_space(self) -> str:
        """sRGB, HDR (HLG) or HDR PQ."""
        with open_video(self._file) as container:
            return {16: "HDR PQ", 18: "HDR"}.get(container.streams.video[0].codec_context.color_trc, "sRGB")

    def get_components(self) -> VideoComponents:
        """Decode everything into memory."""
        found = probe(self._file)
        with open_video(self._file) as container:
            frames = [
                np.rot90(frame.to_ndarray(format="gbrpf32le"), k=round(frame.rotation / 90))
                for frame in container.decode(video=0)
            ]
        with open_video(self._file) as container:
            audio = _decoded_audio(container) if container.streams.audio else None
        return VideoComponents(torch.from_numpy(np.stack(frames)), found.frame_rate, audio, found.metadata)

    def save_to(
        self, path: str | Path, format: Any = "auto", codec: Any = "auto", metadata: dict | None = None
    ) -> None:
        """Copy the streams, not encoded again, into an mp4 with these tags besides its own (JSON where no text)."""
        if (str(getattr(format, "value", format)), str(getattr(codec, "value", codec))) not in _COPIED:
            raise LTX2Error(f"a video is copied as mp4 with h264 (or auto); got {format}, {codec}; choose auto")
        tags = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
        remux(self._file, path, probe(self._file).metadata | tags)


_COPIED = {(format, codec) for format in ("auto", "mp4") for codec in ("auto", "h264")}


def _decoded_audio(container: Any) -> dict[str, Any] | None:
    resampler = av.AudioResampler(format="fltp")
    pieces = [piece.to_ndarray() for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    if not pieces:
        return None
    waveform = torch.from_numpy(np.concatenate(pieces, axis=1)).unsqueeze(0)
    return {"waveform": waveform, "sample_rate": container.streams.audio[0].rate}
