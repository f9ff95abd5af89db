"""What a video file holds, read from its container without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import LTX2Error
from ..packages import av

if TYPE_CHECKING:
    from av.container import InputContainer


@dataclass(frozen=True)
class VideoProbe:
    """Sizes in pixels, durations in seconds, rates in Hz; the audio fields are None where there is no sound."""

    width: int
    height: int
    frames: int
    frame_rate: Fraction
    duration: Fraction
    audio_sample_rate: int | None
    audio_channels: int | None
    audio_duration: Fraction | None
    metadata: dict[str, str]


def probe(path: str | Path) -> VideoProbe:
    """Describe the first video and audio stream of the file at `path`.

    Raises: LTX2Error where there is no such file, or none with a video stream.
    """
    with open_video(Path(path)) as container:
        video = container.streams.video[0]
        audio = container.streams.audio[0] if container.streams.audio else None
        rate = video.average_rate or Fraction(0)
        frames = video.frames or sum(1 for packet in container.demux(video) if packet.size)
        return VideoProbe(
            width=video.codec_context.width,
            height=video.codec_context.height,
            frames=frames,
            frame_rate=rate,
            duration=_seconds(video, container),
            audio_sample_rate=audio.codec_context.sample_rate if audio else None,
            audio_channels=audio.codec_context.channels if audio else None,
            audio_duration=_seconds(audio, container) if audio else None,
            metadata=dict(container.metadata),
        )


def open_video(source: Path | BinaryIO) -> InputContainer:
    """Open a path, or a file that is open already, for reading; LTX2Error where it is missing or is no video."""
    name = source if isinstance(source, Path) else "the file in memory"
    if isinstance(source, Path) and not source.is_file():
        raise LTX2Error(f"a video file must exist to be read; got {source}; check the name and the folder")
    try:
        if not isinstance(source, Path):
            source.seek(0)
        container = av.open(str(source) if isinstance(source, Path) else source)
    except (av.FFmpegError, OSError) as error:
        raise LTX2Error(
            f"the file must be a video; {name} cannot be opened ({error.strerror}); choose an mp4, mov, mkv or webm"
        ) from error
    if not container.streams.video:
        container.close()
        raise LTX2Error(f"the file must have a video stream; {name} has none; choose a file with pictures")
    return container


def _seconds(stream: av.VideoStream | av.AudioStream, container: InputContainer) -> Fraction:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    return Fraction(container.duration or 0, av.time_base)
