"""Guides as the user chains them, in pixels; encoded anew at every stage's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..errors import LTX2Error
from ..geometry import PIXELS_PER_LATENT, pixel_frames
from ..media.image import prepare_image
from .frames import AppendedFrames, Condition, ReplacedFrames


@dataclass(frozen=True, eq=False)
class ImageGuide:
    """An image that the clip must show at a frame.

    Attributes:
        image: (1, H, W, 3) in [0, 1].
        frame: Pixel frame; negative counts from the end. Frame 0 replaces the first latent, others are appended.
        strength: 0 (no effect) to 1 (kept as it is).
        crf: H.264 compression before encoding, as in training; None takes the release's.
    """

    image: Tensor
    frame: int = 0
    strength: float = 1.0
    crf: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise LTX2Error(f"the strength of a guide must be 0 to 1; got {self.strength:g}")

    def __repr__(self) -> str:
        return f"<image guide at frame {self.frame}>"

    def encoded(self, encode: Callable[[Tensor], Tensor], grid: tuple[int, int, int], release_crf: int) -> Condition:
        """The condition for a latent of `grid` (F, H, W). Raises LTX2Error where the clip has no such frame."""
        frames = pixel_frames(grid[0])
        frame = self.frame + frames if self.frame < 0 else self.frame
        if not 0 <= frame < frames:
            raise LTX2Error(
                f"a guide's frame must be {-frames} to {frames - 1} in a clip of {frames}; got {self.frame}"
            )
        crf = release_crf if self.crf is None else self.crf
        pixels = prepare_image(self.image, grid[2] * PIXELS_PER_LATENT, grid[1] * PIXELS_PER_LATENT, crf=crf)
        latent = encode(pixels).float().cpu()
        if frame == 0:
            return ReplacedFrames(latent, strength=self.strength)
        return AppendedFrames(latent, frame, strength=self.strength)
