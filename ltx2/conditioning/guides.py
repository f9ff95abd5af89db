"""Guides as the user chains them, in pixels and samples; encoded anew at every stage's size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..errors import LTX2Error
from ..geometry import FRAMES_PER_LATENT, check_range
from ..media.image import prepare_image
from .frames import AppendedFrames, Condition, ReplacedFrames
from .stage import Stage, prepare_frames, whole_latents

logger = logging.getLogger("ltx2")

#: Pixels (1, 3, F, H, W) in [-1, 1] to a normalised latent (1, C, f, h, w).
Encode = Callable[[Tensor], Tensor]


class Guide(Protocol):
    """A guide of the video."""

    @property
    def strength(self) -> float:
        """0 (no effect) to 1 (kept as it is)."""
        ...

    def size(self, stage: Stage) -> tuple[int, int, int]:
        """(frames, height, width) in pixels of what is encoded. Raises LTX2Error where the guide does not fit."""
        ...

    def encoded(self, encode: Encode, stage: Stage) -> Condition:
        """The condition for the stage's latent; raises as `size` does."""
        ...


@dataclass(frozen=True, eq=False)
class ImageGuide:
    """An image that the clip must show at a frame.

    Attributes:
        image: (1, H, W, 3) in [0, 1].
        frame: Pixel frame; negative counts from the end. Frame 0 replaces the first latent, others are appended.
        strength: 0 (no effect) to 1 (kept as it is).
        crf: H.264 compression before encoding, as in training; None takes the release's.
        append: Also at frame 0 the image is appended, as for keyframe interpolation.
    """

    image: Tensor
    frame: int = 0
    strength: float = 1.0
    crf: int | None = None
    append: bool = False

    def __post_init__(self) -> None:
        check_range("the strength of a guide", self.strength, 0, 1)

    def __repr__(self) -> str:
        return f"<image guide at frame {self.frame}>"

    def size(self, stage: Stage) -> tuple[int, int, int]:
        _counted(self.frame, stage)
        return 1, stage.height, stage.width

    def encoded(self, encode: Encode, stage: Stage) -> Condition:
        frame = _counted(self.frame, stage)
        crf = stage.crf if self.crf is None else self.crf
        pixels = prepare_image(self.image, stage.width, stage.height, crf=crf)
        latent = encode(pixels).float().cpu()
        if _replaces(frame, stage) and not self.append:
            return ReplacedFrames(latent, strength=self.strength)
        return AppendedFrames(latent, frame, strength=self.strength)


@dataclass(frozen=True, eq=False)
class VideoGuide:
    """A short clip that the clip must show from a frame on.

    Attributes:
        images: (F, H, W, 3) in [0, 1]; the first 8n + 1 of them are shown.
        frame: Pixel frame at which it begins; negative counts from the end. More than one frame begins at a multiple
            of 8. At frame 0 it replaces the first latents, elsewhere it is appended.
        strength: 0 (no effect) to 1 (kept as it is).
    """

    images: Tensor
    frame: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_range("the strength of a guide", self.strength, 0, 1)

    def __repr__(self) -> str:
        return f"<video guide of {len(self.images)} frames at frame {self.frame}>"

    def size(self, stage: Stage) -> tuple[int, int, int]:
        return self._place(stage)[1], stage.height, stage.width

    def encoded(self, encode: Encode, stage: Stage) -> Condition:
        start, count = self._place(stage)
        if count != len(self.images):
            logger.info("video guide: its first %d of %d frames are used (8n + 1)", count, len(self.images))
        if start != _counted(self.frame, stage):
            logger.info("video guide: it begins at frame %d, not %d (a multiple of 8)", start, self.frame)
        pixels = prepare_frames(self.images, range(count), stage.width, stage.height, stage.dtype)
        latent = encode(pixels).float().cpu()
        if _replaces(start, stage):
            return ReplacedFrames(latent, strength=self.strength)
        return AppendedFrames(latent, start, strength=self.strength, num_frames=count)

    def _place(self, stage: Stage) -> tuple[int, int]:
        """(first frame, number of frames) in the clip."""
        count, start = whole_latents(len(self.images)), _counted(self.frame, stage)
        if count > 1:
            start = start // FRAMES_PER_LATENT * FRAMES_PER_LATENT
        if start + count > stage.frames:
            raise LTX2Error(
                f"a video guide must end within the clip of {stage.frames} frames; got {count} frames from frame "
                f"{start} on: cut it to {whole_latents(stage.frames - start)}, or let it begin earlier"
            )
        return start, count


def _counted(frame: int, stage: Stage) -> int:
    """`frame` counted from the start of the clip. Raises LTX2Error where the clip has no such frame."""
    frames = stage.frames
    counted = frame + frames if frame < 0 else frame
    if not 0 <= counted < frames:
        raise LTX2Error(f"a guide's frame must be {-frames} to {frames - 1} in a clip of {frames}; got {frame}")
    return counted


def _replaces(frame: int, stage: Stage) -> bool:
    """Whether a guide there takes the place of latents: only in a whole clip the first frame has one of its own."""
    return frame == 0 and not stage.continues
