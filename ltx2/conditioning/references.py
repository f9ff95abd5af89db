"""What the model looks at and does not show: a reference video of an IC-LoRA, the sound of a voice.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T audio latents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ..errors import LTX2Error
from ..tokens import TokenState, flatten_audio, flatten_video, reference_positions, voice_positions
from .strengths import AttentionStrengths


@dataclass(frozen=True, eq=False)
class ReferenceVideo:
    """An encoded control video as extra tokens on a coarser grid of the clip.

    Attributes:
        latent: [B, C, F, H, W] in the normalised latent space; its size times `spatial` is the clip's.
        strength: 0 leaves the reference free, 1 keeps it as it is.
        spatial: How many times smaller than the clip it was encoded.
        temporal: Of how many frames it has one.
        attention: How strongly clip and reference see each other, 0 to 1, for each of its tokens: (F * H * W,) or (1,).
            None is 1 without a table; references with one do not see other conditions.
    """

    latent: Tensor
    strength: float = 1.0
    spatial: int = 1
    temporal: int = 1
    attention: Tensor | None = None

    def apply(self, state: TokenState, grid: tuple[int, ...], frame_rate: float) -> TokenState:
        own = tuple(self.latent.shape[2:])
        if tuple(size * self.spatial for size in own[1:]) != tuple(grid[1:]):
            raise LTX2Error(
                f"a reference must be 1/{self.spatial} of the latent it is applied to, {grid[2]}x{grid[1]}; it has "
                f"{own[2]}x{own[1]}: apply the guides again after changing a latent's size"
            )
        positions = reference_positions(own, frame_rate, spatial=self.spatial, temporal=self.temporal)
        grown = state.appended(flatten_video(self.latent), positions, 1 - self.strength)
        if self.attention is None:
            return grown
        count = positions.shape[2]
        before = state.attention or AttentionStrengths.of(state)
        return replace(grown, attention=before.appended(count, self.attention.expand(count)))


@dataclass(frozen=True, eq=False)
class ReferenceSound:
    """An encoded sound as extra tokens before the clip begins: the voice that it shall have.

    Attributes:
        latent: [B, C, T, bins] in the normalised latent space.
    """

    latent: Tensor

    def apply(self, state: TokenState, grid: tuple[int, ...], frame_rate: float) -> TokenState:
        return state.appended(flatten_audio(self.latent), voice_positions(self.latent.shape[2]), 0.0)
