"""Generated keyframes: extra tokens that the model fills with sharp pictures of single frames (2.5).

Shapes: B batch, C channels, K keyframes, H W latent rows, columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..packages import rearrange
from ..tokens import TokenState, flatten_video, frame_positions


@dataclass(frozen=True, eq=False)
class KeyframeSlots:
    """Empty tokens at single frames of the clip, generated along with it.

    Attributes:
        frames: Pixel frames, one for each slot.
        initial: [B, C, K, H, W] where their denoising starts; None starts at zero.
    """

    frames: tuple[int, ...]
    initial: Tensor | None = None

    def apply(self, state: TokenState, grid: tuple[int, ...], frame_rate: float) -> TokenState:
        plane = (1, *grid[1:])
        positions = torch.cat([frame_positions(frame, 1, plane, frame_rate) for frame in self.frames], 2)
        clean = state.clean.new_zeros(1, positions.shape[2], state.clean.shape[2])
        latent = None if self.initial is None else flatten_video(self.initial)
        return state.appended(clean, positions, 1.0, latent=latent, keyframe=1.0)


def generated_keyframes(state: TokenState, grid: tuple[int, ...]) -> Tensor:
    """[B, C, K, H, W] what the slots of a state hold; K is 0 where there are none."""
    slots = state.keyframes[0, :, 0] > 0
    slots[: state.num_targets] = False
    return rearrange(state.latent[:, slots], "b (k h w) c -> b c k h w", h=grid[1], w=grid[2]).contiguous()
