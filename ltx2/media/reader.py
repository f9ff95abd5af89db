"""Reads a video as a stream of upright 8-bit pictures at a constant frame rate, and its sound; never the whole clip.

Shapes:
    h w c   height, width, RGB
    C T     audio channels, samples
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..packages import av
from .frame_rate import frame_rate_fraction
from .probe import open_video
from .sound_track import read_sound
from .upright import upright_rgb

if TYPE_CHECKING:
    from av.container import InputContainer

_Item = TypeVar("_Item")
# SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG).
_HDR_TRANSFERS = (16, 18)
# Seconds that headers are wrong by in files that are whole.
_MISSING = Fraction(1, 2)

_log = logging.getLogger("ltx2")


class VideoFile:
    """A video file, or the window of it that starts at `start` seconds and lasts `duration` (0: to the end).

    Attributes:
        width, height: Pixels of the upright picture, with square pixels.
        frame_rate: Of the file, on average; NTSC rates exactly.
        seconds: Duration of the window's pictures.
        has_sound: Whether there is a sound that can be decoded.

    Raises: LTX2Error where the source is no readable video, or has no picture in the window.
    """

    def __init__(self, source: str | Path | BinaryIO, start: float = 0.0, duration: float = 0.0) -> None:
        self._source = Path(source) if isinstance(source, str) else source
        with open_video(self._source) as container:
            stream = container.streams.video[0]
            self.frame_rate = self._frame_rate(stream)
            self.has_sound = any(audio.codec_context is not None for audio in container.streams.audio)
            self._aspect = float(stream.sample_aspect_ratio or 1)
            # Half a frame early, for times are rounded in files.
            zero = (stream.start_time or 0) * stream.time_base - 1 / self.frame_rate / 2
            self._start = zero + Fraction(start).limit_denominator(10**6)
            until = self._start + Fraction(duration).limit_denominator(10**6) if duration else None
            self._first, self._last, end = self._extent(container, until)
            self.seconds = end - self._first
        with open_video(self._source) as container:
            frame = next(self._decoded(container))
            self.height, self.width = upright_rgb(frame, self._aspect).shape[:2]
            if container.streams.video[0].codec_context.color_trc in _HDR_TRANSFERS:
                _log.warning("%s is an HDR video; its colours are taken as they are: convert it to SDR before", self)

    def __repr__(self) -> str:
        return self._source.name if isinstance(self._source, Path) else "the video"

    def frames(self, rate: Fraction, count: int) -> Iterator[Tensor]:
        """`count` pictures (h, w, c), uint8, at a constant `rate`: at each time the one that is nearest in the file.

        Raises: LTX2Error where the file is damaged.
        """
        with open_video(self._source) as container:
            timed = ((frame.pts * frame.time_base, frame) for frame in self._decoded(container))
            for frame in at_rate(timed, rate, count):
                yield torch.from_numpy(upright_rgb(frame, self._aspect))

    def sound(self, seconds: Fraction) -> dict[str, Any] | None:
        """ComfyUI's AUDIO of the window's first `seconds`: waveform [1, C, T], one or two channels; None where silent.

        It starts with the first picture: sound before it is cut, where the sound begins later there is silence.
        """
        if not self.has_sound:
            return None
        with open_video(self._source) as container:
            return read_sound(container, self._first, seconds)

    def _frame_rate(self, stream: av.VideoStream) -> Fraction:
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise LTX2Error(f"a video must state its frame rate; {self} has none; convert it to mp4")
        return frame_rate_fraction(float(rate))

    def _extent(self, container: InputContainer, end: Fraction | None) -> tuple[Fraction, Fraction, Fraction]:
        """(time of the first picture, of the last one, end of the last one), from packets: nothing is decoded."""
        stream = container.streams.video[0]
        self._seek(container)
        times: list[Fraction] = []
        stop = Fraction(0)
        for packet in container.demux(stream):
            ticks = packet.pts if packet.pts is not None else packet.dts
            if ticks is None or packet.is_discard or not packet.size:
                continue
            time = ticks * packet.time_base
            if time >= self._start and (end is None or time < end):
                times.append(time)
                length = packet.duration * packet.time_base if packet.duration else 1 / self.frame_rate
                stop = max(stop, time + length)
            if end is not None and packet.dts is not None and packet.dts * packet.time_base >= end:
                break
        promised = ((stream.start_time or 0) + stream.duration) * stream.time_base if stream.duration else stop
        if times and end is None and stop < promised - _MISSING:
            _log.warning("%s ends %.2f s before its header says; is it damaged?", self, promised - stop)
        if not times:
            raise LTX2Error(
                f"a video must have pictures where it is read; {self} has none there; choose an earlier start"
            )
        return min(times), max(times), stop

    def _decoded(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """The window's pictures in order of time, as they are stored."""
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        self._seek(container)
        time = None
        try:
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise LTX2Error(
                        f"every picture of a video must have a time; {self} has one without: convert it to mp4"
                    )
                time = frame.pts * frame.time_base
                if time > self._last:
                    return
                if time >= self._first:
                    yield frame
        except av.FFmpegError as error:
            raise LTX2Error(f"a video must be whole; {self} is damaged ({error.strerror}); convert it anew") from error
        if time is None or time < self._last - 1 / self.frame_rate:
            raise LTX2Error(
                f"a video must be whole; {self} ends {float(self._last - (time or 0)):.2f} s before its header says: "
                "convert it anew"
            )

    def _seek(self, container: InputContainer) -> None:
        stream = container.streams.video[0]
        if self._start > (stream.start_time or 0) * stream.time_base:
            container.seek(int(self._start / stream.time_base), stream=stream)


class Pictures:
    """Pictures in memory, (n, h, w, c) float in [0, 1], with their frame rate and sound; read as a VideoFile is."""

    def __init__(self, images: Tensor, frame_rate: Fraction, audio: dict[str, Any] | None = None, start: float = 0.0):
        first = round(start * frame_rate)
        if not 0 <= first < len(images):
            raise LTX2Error(
                f"the start must lie within the {len(images)} images ({float(len(images) / frame_rate):.3f} s); got "
                f"{start:g} s: choose an earlier one"
            )
        self._images = images[first:]
        self._audio, self._first = audio, first / frame_rate
        self.frame_rate = frame_rate
        self.seconds = len(self._images) / frame_rate
        self.height, self.width = images.shape[1:3]
        self.has_sound = audio is not None

    def __repr__(self) -> str:
        return f"a video of {len(self._images)} images"

    def frames(self, rate: Fraction, count: int) -> Iterator[Tensor]:
        """As VideoFile.frames."""
        for number in at_rate(((i / self.frame_rate, i) for i in range(len(self._images))), rate, count):
            picture = self._images[number, ..., :3].float()
            if bool(picture.isnan().any()):
                raise LTX2Error(f"every pixel must be a number; picture {number} of {self} holds NaN: check its source")
            yield (picture.clamp(0, 1) * 255).round().to("cpu", torch.uint8)

    def sound(self, seconds: Fraction) -> dict[str, Any] | None:
        """As VideoFile.sound."""
        if self._audio is None:
            return None
        rate = int(self._audio["sample_rate"])
        first = round(self._first * rate)
        heard = self._audio["waveform"][..., first : first + round(seconds * rate)]
        return {**self._audio, "waveform": heard} if heard.shape[-1] else None


def at_rate(timed: Iterable[tuple[Fraction, _Item]], rate: Fraction, count: int) -> Iterator[_Item]:
    """`count` items, one for each 1 / rate seconds from the first on: the nearest in time; the last one is held."""
    origin, earlier, done = None, None, 0
    for time, item in timed:
        if origin is None:
            origin = time
        if earlier is not None:
            middle = (earlier[0] + time) / 2 - origin
            while done < count and done / rate < middle:
                yield earlier[1]
                done += 1
        if done == count:
            return
        earlier = time, item
    while earlier is not None and done < count:
        yield earlier[1]
        done += 1
