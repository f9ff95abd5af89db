"""Images and clips that a video must show: at its start by replacing tokens, elsewhere by appending them.

Shapes: B batch, C channels, F H W latent frames, rows, columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ..errors import LTX2Error
from ..tokens import TokenState, flatten_video, frame_positions


class Condition(Protocol):
    """A condition that is encoded and ready to be applied."""

    def apply(self, state: TokenState, grid: tuple[int, ...], frame_rate: float) -> TokenState:
        """`state` with this condition, for a target of `grid` latents: (F, H, W) of a video, (T,) of a sound."""
        ...


@dataclass(frozen=True, eq=False)
class ReplacedFrames:
    """An encoded image (or clip) in the place of the latents from `latent_index` on.

    It goes into the clean latent and the mask; the start point keeps its own frames.

    Attributes:
        latent: [B, C, F, H, W] in the normalised latent space, of the target's height and width.
        strength: 0 leaves the frames free, 1 keeps them as they are.
    """

    latent: Tensor
    latent_index: int = 0
    strength: float = 1.0

    def apply(self, state: TokenState, grid: tuple[int, int, int], frame_rate: float) -> TokenState:
        _check_size(self.latent, grid)
        per_frame = grid[1] * grid[2]
        start = self.latent_index * per_frame
        stop = start + self.latent.shape[2] * per_frame
        clean, mask = state.clean.clone(), state.mask.clone()
        clean[:, start:stop] = flatten_video(self.latent)
        mask[:, start:stop] = 1 - self.strength
        return replace(state, clean=clean, mask=mask)


@dataclass(frozen=True, eq=False)
class AppendedFrames:
    """An encoded image (or clip) as extra tokens at pixel frame `frame`; the model sees them and may drift from them.

    Attributes:
        latent: [B, C, F, H, W] in the normalised latent space, of the target's height and width.
        num_frames: Pixel frames that `latent` stands for; 1 for an image.
    """

    latent: Tensor
    frame: int
    strength: float = 1.0
    num_frames: int = 1

    def apply(self, state: TokenState, grid: tuple[int, int, int], frame_rate: float) -> TokenState:
        _check_size(self.latent, grid)
        frames, height, width = self.latent.shape[2:]
        positions = frame_positions(self.frame, self.num_frames, (frames, height, width), frame_rate)
        return state.appended(flatten_video(self.latent), positions, 1 - self.strength)


def _check_size(latent: Tensor, grid: tuple[int, int, int]) -> None:
    if tuple(latent.shape[3:]) != grid[1:]:
        raise LTX2Error(
            f"a guide must have the size of the latent it is applied to, {grid[2]}x{grid[1]}; it has "
            f"{latent.shape[4]}x{latent.shape[3]}: apply the guides again after changing a latent's size"
        )
