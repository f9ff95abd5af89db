"""Noise of a host's NOISE object: something with a `seed`, and `generate_noise(LATENT)` that gives noise in its shape.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T tokens or audio latents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..geometry import MAX_SEED
from ..tokens import flatten_audio, flatten_video

Tokens = tuple[Tensor | None, Tensor | None]

_CURE = "connect Random Noise, or nothing to use the seed"


class AudioVideo:
    """The samples of a clip with sound, as NOISE objects know them: ComfyUI's NestedTensor, as far as they look."""

    is_nested = True

    def __init__(self, video: Tensor, audio: Tensor):
        self.tensors = [video, audio]
        self.shape, self.ndim = video.shape, video.ndim
        self.dtype, self.device, self.layout = video.dtype, video.device, video.layout

    def unbind(self) -> list[Tensor]:
        return self.tensors

    def size(self) -> torch.Size:
        return self.shape


def seed_of(noise: Any) -> int:
    """The seed of a NOISE for what solvers draw on the way; larger ones than ours wrap around.

    Raises:
        LTX2Error: it is no NOISE.
    """
    seed = getattr(noise, "seed", None)
    if not isinstance(seed, int) or not callable(getattr(noise, "generate_noise", None)):
        raise LTX2Error(f"noise must be a NOISE (a seed and generate_noise); got {type(noise).__name__}: {_CURE}")
    return seed % (MAX_SEED + 1)


def with_given(drawn: Tokens, noise: Any, latents: tuple[dict[str, Any] | None, dict[str, Any] | None]) -> Tokens:
    """`drawn` tokens (B, T, C), those of the (video, audio) LATENTs themselves replaced by what `noise` makes.

    Raises:
        LTX2Error: the noise has another shape than the latents, or is not finite.
    """
    video, audio = (None if latent is None else latent["samples"] for latent in latents)
    samples = AudioVideo(video, audio) if video is not None and audio is not None else video if audio is None else audio
    made = noise.generate_noise({**(latents[1] or {}), **(latents[0] or {}), "samples": samples})
    return replaced(drawn, made, tuple(None if tensor is None else tuple(tensor.shape) for tensor in (video, audio)))


def replaced(drawn: Tokens, made: Any, shapes: tuple[tuple[int, ...] | None, ...]) -> Tokens:
    """`drawn` tokens (B, T, C), fp32, those of (video, audio) latents of `shapes` replaced by what a NOISE `made`.

    Where that is no noise at all, tokens behind the latents get none either.

    Raises:
        LTX2Error: the noise has other shapes, or is not finite.
    """
    expected = [shape for shape in shapes if shape is not None]
    parts = list(made.unbind()) if getattr(made, "is_nested", False) else [made]
    is_none = all(isinstance(part, Tensor) and not bool(part.any()) for part in parts)
    if is_none and len(parts) < len(expected):  # Disable Noise of older ComfyUIs makes none for a sound
        parts = [torch.zeros(shape) for shape in expected]
    got = [tuple(getattr(part, "shape", ())) for part in parts]
    if got != expected:
        raise LTX2Error(
            f"noise must have the shape of the latents, {[list(shape) for shape in expected]}; got "
            f"{[list(shape) for shape in got]}: {_CURE}"
        )
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise LTX2Error(f"noise must be finite; got NaN or infinity: {_CURE}")
    own = iter(parts)
    given = (
        None if shapes[0] is None else flatten_video(next(own).float().cpu()),
        None if shapes[1] is None else flatten_audio(next(own).float().cpu()),
    )
    return tuple(
        None if tokens is None or start is None else _begun_with(start, tokens, is_none)
        for tokens, start in zip(drawn, given, strict=True)
    )


def _begun_with(start: Tensor, tokens: Tensor, is_none: bool) -> Tensor:
    behind = tokens[:, start.shape[1] :]
    return torch.cat((start, torch.zeros_like(behind) if is_none else behind), 1)
