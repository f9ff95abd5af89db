"""Latents as token sequences: order, positions, noise mask, appended tokens. The only place that knows token order.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T tokens, A position axes. Video tokens run over
frames, then rows, then columns; an audio token is one latent frame with its channels x bins as features. Positions
(B, A, T, 2) are [start, end) bounds: seconds, pixel rows, pixel columns for video; seconds for audio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .errors import LTX2Error
from .geometry import FRAMES_PER_LATENT, PIXELS_PER_LATENT
from .packages import rearrange

# An audio latent is four mel frames, each a hop of 160 samples at 16 kHz.
_MEL_FRAMES_PER_LATENT = 4
_HOP, _SAMPLE_RATE = 160, 16000
# Seconds between a reference sound and the clip.
_PAUSE = 0.04


@dataclass(frozen=True, eq=False)
class TokenState:
    """A modality on its way through sampling, fp32.

    Attributes:
        latent: (B, T, C) where denoising starts, or has got to.
        clean: (B, T, C) what masked tokens are pulled to.
        mask: (B, T, 1); 1 = generate, 0 = keep.
        positions: (B, A, T, 2).
        keyframes: (B, T, 1), above 0 for tokens of keyframes (only 2.5 looks at it); None for audio.
        num_targets: The first so many tokens are the clip; the rest are appended conditions.
        attention: How strongly tokens see each other (conditioning.strengths.AttentionStrengths); None sees everything.
    """

    latent: Tensor
    clean: Tensor
    mask: Tensor
    positions: Tensor
    num_targets: int
    keyframes: Tensor | None = None
    attention: Any = None

    def blended(self, x0: Tensor) -> Tensor:
        """x0 where tokens are generated, the clean latent where they are kept, and between by the mask."""
        return x0 * self.mask + self.clean * (1 - self.mask)

    def targets(self) -> Tensor:
        """The clip's own tokens of `latent`."""
        return self.latent[:, : self.num_targets]

    @property
    def num_appended(self) -> int:
        """How many tokens of conditions stand behind the clip's own."""
        return self.latent.shape[1] - self.num_targets

    def appended(
        self, clean: Tensor, positions: Tensor, mask: float, *, latent: Tensor | None = None, keyframe: float = 0.0
    ) -> TokenState:
        """This state with condition tokens (1 or B, T, C) behind it; they start at `latent`, or at zero.

        Raises LTX2Error for tokens of another number of clips or features.
        """
        if clean.shape[0] not in (1, self.clean.shape[0]) or clean.shape[2] != self.clean.shape[2]:
            raise LTX2Error(
                f"a condition must be made for {self.clean.shape[0]} clips (or for one) of {self.clean.shape[2]} "
                f"features a token; got {clean.shape[0]} of {clean.shape[2]}: use one clip of the same model"
            )
        batch, shape = self.clean.shape[0], (self.clean.shape[0], clean.shape[1], 1)
        clean = clean.expand(batch, -1, -1)
        start = torch.zeros_like(clean) if latent is None else latent.expand(batch, -1, -1)
        keyframes = self.keyframes
        if keyframes is not None:
            keyframes = torch.cat((keyframes, clean.new_full(shape, keyframe)), 1)
        return replace(
            self,
            latent=torch.cat((self.latent, start), 1),
            clean=torch.cat((self.clean, clean), 1),
            mask=torch.cat((self.mask, clean.new_full(shape, mask)), 1),
            positions=torch.cat((self.positions, positions.expand(batch, -1, -1, -1)), 2),
            keyframes=keyframes,
            attention=None if self.attention is None else self.attention.appended(clean.shape[1]),
        )


def video_state(
    samples: Tensor, frame_rate: float, mask: Tensor | None = None, *, continues: bool = False
) -> TokenState:
    """The tokens of a video latent [B, C, F, H, W]; `mask` [B, 1, F, H, W] (broadcastable), 1 = generate.

    `continues`: the clip was cut out of a longer one, so that its first latent is eight frames long as all others.
    """
    batch, _, frames, height, width = samples.shape
    latent = flatten_video(samples)
    keyframes = torch.zeros(batch, latent.shape[1], 1)
    if not continues:
        # The first latent holds a single frame, which makes it a keyframe whether it is given or generated.
        keyframes[:, : height * width] = 1.0
    return TokenState(
        latent=latent,
        clean=latent,
        mask=_token_mask(mask, (batch, 1, frames, height, width)),
        positions=video_positions((frames, height, width), frame_rate, continues=continues).expand(batch, -1, -1, -1),
        num_targets=latent.shape[1],
        keyframes=keyframes,
    )


def audio_state(samples: Tensor, mask: Tensor | None = None, *, continues: bool = False) -> TokenState:
    """The tokens of an audio latent [B, C, T, bins]; `mask` [B, 1, T, 1] (broadcastable), 1 = generate.

    `continues`: the sound was cut out of a longer one, so that its first latent is four mel frames long as all others.
    """
    batch, _, length, _ = samples.shape
    latent = flatten_audio(samples)
    return TokenState(
        latent=latent,
        clean=latent,
        mask=_token_mask(mask, (batch, 1, length, 1)),
        positions=audio_positions(length, continues=continues).expand(batch, -1, -1, -1),
        num_targets=length,
    )


def _token_mask(mask: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    full = torch.ones(shape) if mask is None else mask.float().expand(shape)
    return full.flatten(1)[..., None].contiguous()


def flatten_video(samples: Tensor) -> Tensor:
    return rearrange(samples.float(), "b c f h w -> b (f h w) c")


def unflatten_video(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    frames, height, width = grid
    return rearrange(tokens, "b (f h w) c -> b c f h w", f=frames, h=height, w=width).contiguous()


def flatten_audio(samples: Tensor) -> Tensor:
    return rearrange(samples.float(), "b c t f -> b t (c f)")


def unflatten_audio(tokens: Tensor, channels: int) -> Tensor:
    return rearrange(tokens, "b t (c f) -> b c t f", c=channels).contiguous()


def video_positions(grid: tuple[int, int, int], frame_rate: float, *, continues: bool = False) -> Tensor:
    """(1, 3, T, 2) bounds of a latent grid (F, H, W). The first latent is one frame long, all others eight.

    Where the clip `continues` a longer one, the first is eight long too and begins at -7 frames.
    """
    frames = _bounds(grid[0]) * FRAMES_PER_LATENT + 1 - FRAMES_PER_LATENT
    frames = (frames if continues else frames.clamp_min(0)) / frame_rate
    return _grid_positions(frames, _bounds(grid[1]) * PIXELS_PER_LATENT, _bounds(grid[2]) * PIXELS_PER_LATENT)


def frame_positions(frame: int, num_frames: int, grid: tuple[int, int, int], frame_rate: float) -> Tensor:
    """(1, 3, T, 2) bounds of a condition of `num_frames` pixel frames that begins at pixel frame `frame`."""
    frames = _bounds(grid[0]) * FRAMES_PER_LATENT
    if frame == 0:
        frames = (frames + 1 - FRAMES_PER_LATENT).clamp_min(0)
    frames = frames + frame
    if num_frames == 1:
        frames[:, 1] = frames[:, 0] + 1
    return _grid_positions(
        frames / frame_rate, _bounds(grid[1]) * PIXELS_PER_LATENT, _bounds(grid[2]) * PIXELS_PER_LATENT
    )


def reference_positions(
    grid: tuple[int, int, int], frame_rate: float, *, spatial: int = 1, temporal: int = 1
) -> Tensor:
    """(1, 3, T, 2) bounds of a reference `spatial` times coarser than the clip, and `temporal` times in time.

    Its frames are 0, 1, 1 + temporal, 1 + 2 temporal, ... of the clip.
    """
    frames = (_bounds(grid[0]) * FRAMES_PER_LATENT + 1 - FRAMES_PER_LATENT).clamp_min(0)
    # In this order, as above all: the last bit counts.
    seconds = (frames / (frame_rate / temporal) - (temporal - 1) / frame_rate).clamp_min(0)
    step = PIXELS_PER_LATENT * spatial
    return _grid_positions(seconds, _bounds(grid[1]) * step, _bounds(grid[2]) * step)


def audio_positions(length: int, *, continues: bool = False) -> Tensor:
    """(1, 1, T, 2) bounds in seconds. The first latent is one mel frame long, all others four.

    Where the sound `continues` a longer one, the first is four long too and begins at -3 mel frames.
    """
    mel_frames = _bounds(length) * _MEL_FRAMES_PER_LATENT + 1 - _MEL_FRAMES_PER_LATENT
    mel_frames = mel_frames if continues else mel_frames.clamp_min(0)
    # In this order: the fastest rotary frequency turns a difference in the last bit into a thousandth of a radian.
    return (mel_frames * _HOP / _SAMPLE_RATE)[None, None]


def voice_positions(length: int) -> Tensor:
    """(1, 1, T, 2) bounds in seconds of a reference sound that ends 0.04 s before the clip begins."""
    positions = audio_positions(length)
    return positions - positions[0, 0, -1, 1] - _PAUSE


def _bounds(count: int) -> Tensor:
    starts = torch.arange(count, dtype=torch.float32)
    return torch.stack((starts, starts + 1), -1)


def _grid_positions(frames: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    f, h, w = len(frames), len(rows), len(columns)
    axes = (
        frames[:, None, None].expand(f, h, w, 2),
        rows[None, :, None].expand(f, h, w, 2),
        columns[None, None, :].expand(f, h, w, 2),
    )
    return rearrange(torch.stack(axes), "a f h w two -> 1 a (f h w) two")
