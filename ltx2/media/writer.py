"""Streams frames and sound into an mp4 as they are decoded; the file appears when it is complete.

Shapes:
    n       frames of one call
    h w c   height, width, RGB
    C T     audio channels, samples
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..packages import av
from .audio import SoundTrack, require_finite
from .color import rgb_to_yuv420
from .frame_rate import frame_rate_fraction
from .partial_file import explained_errors, partial_file, require_size

if TYPE_CHECKING:
    from av.container import OutputContainer

# Metadata in front, where ComfyUI's browser looks for the workflow (first 64 MiB), under names of our own.
MP4_OPTIONS = {"movflags": "+faststart+use_metadata_tags"}
# x264's result depends on the number and kind of its threads: constants make the file the same on every machine.
_X264_THREADS, _X264_THREADING = 4, "FRAME"
_AAC_BITS_PER_SECOND = 192_000
_BT709 = 1
_LIMITED_RANGE = 1

_log = logging.getLogger("ltx2")


class VideoWriter:
    """An mp4 in the making: H.264 4:2:0 in BT.709 limited range with AAC stereo, to be used in a `with` statement.

    `width` and `height` are even, in pixels. `audio` is a waveform (C, T) and its sample rate; it is cut or padded
    with silence to the duration of the frames. `metadata` becomes container tags: ComfyUI restores a graph from
    `workflow` and `prompt`, JSON strings. `stage` and `audio_stage` name the producers in errors about NaN.

    The frames go to a temporary file in the folder of `path`, which takes that name when the block ends. After any
    exception, Ctrl-C included, nothing is left. Equal frames and sound give equal files, byte for byte.

    Raises: LTX2Error for wrong sizes, rates and sound, NaN or infinite values, no frames at all, a full disk.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        frame_rate: Fraction | float,
        *,
        crf: int = 19,
        audio: tuple[Tensor, int] | None = None,
        metadata: Mapping[str, str] | None = None,
        stage: str = "video decode",
        audio_stage: str = "vocoder",
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise LTX2Error(
                f"width and height of a video must be even; got {width}x{height}; "
                f"crop to {max(width // 2 * 2, 2)}x{max(height // 2 * 2, 2)}"
            )
        if not 0 <= crf <= 51:
            raise LTX2Error(f"crf must be 0 (lossless) to 51 (worst); got {crf}; 19 is hard to tell from the original")
        self.path = Path(path)
        self.width, self.height = width, height
        self.frame_rate = frame_rate_fraction(frame_rate)
        self.num_frames = 0
        self._crf = crf
        self._sound = None if audio is None else SoundTrack(*audio, stage=audio_stage)
        self._metadata = dict(metadata or {})
        self._stage = stage
        self._num_prepared = 0
        self._bytes = 0

    @property
    def duration(self) -> Fraction:
        """Seconds of the frames written so far."""
        return self.num_frames / self.frame_rate

    def write(self, frames: Tensor) -> None:
        """Append `frames` (n, h, w, c), float in [0, 1] (ComfyUI's IMAGE); values outside are clipped."""
        self.write_planes(self.planes(frames))

    def planes(self, frames: Tensor) -> Tensor:
        """Frames as `write` takes them as what the encoder takes, on the CPU: uint8 (n, h * 3 / 2, w), 4:2:0.

        They are converted where they are, and become the next frames of the file: pass them to `write_planes` in order,
        in another thread if you like.
        """
        if frames.ndim != 4 or tuple(frames.shape[1:]) != (self.height, self.width, 3):
            raise LTX2Error(
                f"frames must be (frames, {self.height}, {self.width}, 3) for a video of {self.width}x{self.height}; "
                f"got {tuple(frames.shape)}; decode or resize them to that size"
            )
        require_finite(frames, self._stage, where=f" in the frames from number {self._num_prepared} on")
        self._num_prepared += len(frames)
        return torch.stack([rgb_to_yuv420(image.detach()) for image in frames]).cpu()

    def write_planes(self, planes: Tensor) -> None:
        """Append what `planes` has made."""
        for image in planes:
            frame = av.VideoFrame.from_ndarray(image.numpy(), format="yuv420p")
            frame.colorspace, frame.color_range = _BT709, _LIMITED_RANGE
            frame.pts, frame.time_base = self.num_frames, 1 / self.frame_rate
            self.num_frames += 1
            with explained_errors(self.path, self._temporary):
                self._mux(self._video.encode(frame))
                self._encode_sound(self._sound.frames_before(self.duration) if self._sound else ())

    def __enter__(self) -> VideoWriter:
        self._scope: AbstractContextManager[None] = self._opened()
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with partial_file(self.path) as self._temporary, open_mp4(self.path, self._temporary) as self._container:
            with explained_errors(self.path, self._temporary):
                self._add_streams()
            yield
            if self.num_frames == 0:
                raise LTX2Error(f"a video must have at least one frame; got none for {self.path}; write frames first")
            with explained_errors(self.path, self._temporary):
                self._mux(self._video.encode())
                if self._sound:
                    self._encode_sound(self._sound.frames_to_end(self.duration))
                    self._mux(self._audio.encode())
                self._container.close()
            require_size(self.path, self._temporary, self._bytes)

    def _add_streams(self) -> None:
        self._container.metadata.update(self._metadata)  # before the streams: the header is written with the first
        self._video = self._container.add_stream("libx264", rate=self.frame_rate, options=_x264_options(self._crf))
        self._video.width, self._video.height, self._video.pix_fmt = self.width, self.height, "yuv420p"
        context = self._video.codec_context
        context.time_base = 1 / self.frame_rate
        context.thread_count, context.thread_type = _X264_THREADS, _X264_THREADING
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        if self._sound:
            self._audio = self._container.add_stream("aac", rate=self._sound.sample_rate, layout="stereo")
            self._audio.bit_rate = _AAC_BITS_PER_SECOND

    def _encode_sound(self, frames: Iterator[av.AudioFrame] | tuple[()]) -> None:
        for frame in frames:
            self._mux(self._audio.encode(frame))

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            self._bytes += packet.size
            self._container.mux(packet)


def _x264_options(crf: int) -> dict[str, str]:
    options = {"crf": str(crf), "preset": "veryfast"}
    # x264's AVX-512 code reads memory that nothing has set (macroblock tree, most widths): equal frames would give
    # another file each time. Capped only where AVX-512 is: x264 believes what it is told, and AVX2 may be missing.
    if torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        options["x264-params"] = "asm=AVX2"
    return options


@contextmanager
def open_mp4(path: Path, temporary: Path, options: Mapping[str, str] | None = None) -> Iterator[OutputContainer]:
    """Open `temporary`, to become `path`, for muxing. The block closes the file when it is complete."""
    with explained_errors(path, temporary):
        container = av.open(str(temporary), "w", format="mp4", options=MP4_OPTIONS | dict(options or {}))
    try:
        yield container
    except BaseException:
        try:
            container.close()
        except (av.FFmpegError, OSError) as error:
            # Closing writes the index of a file that is about to be removed: the first error is the one to report.
            _log.debug("closing the abandoned %s: %s", temporary, error)
        raise
