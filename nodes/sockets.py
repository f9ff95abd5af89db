"""The pack's own socket types: a wire of the wrong type is refused by the canvas."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..ltx2.errors import LTX2Error
from .host import current

io = current().io

Transformer = io.Custom("LTX2_TRANSFORMER")
TextEncoder = io.Custom("LTX2_TEXT_ENCODER")
VideoVAE = io.Custom("LTX2_VIDEO_VAE")
AudioVAE = io.Custom("LTX2_AUDIO_VAE")
Vocoder = io.Custom("LTX2_VOCODER")
Upsampler = io.Custom("LTX2_UPSAMPLER")
Canvas = io.Custom("LTX2_CANVAS")
Conditioning = io.Custom("LTX2_CONDITIONING")
Guidance = io.Custom("LTX2_GUIDANCE")
Guider = io.Custom("LTX2_GUIDER")
Guides = io.Custom("LTX2_GUIDES")


def require(value: Any, kind: type | tuple[type, ...], name: str, source: str) -> None:
    """Raise LTX2Error unless a socket's value is of its type: over HTTP anything can be put there."""
    if not isinstance(value, kind):
        raise LTX2Error(f"{name} must come from {source}; got {type(value).__name__}")


def require_images(images: Any, name: str) -> None:
    """Raise LTX2Error unless `images` is an IMAGE of one picture or more: (batch, height, width, 3)."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        got = f"a tensor {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise LTX2Error(
            f"{name} must be an IMAGE, a tensor (batch, height, width, 3); got {got}: connect a node that gives images"
        )
