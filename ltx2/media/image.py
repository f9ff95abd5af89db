"""Prepares a picture as the model saw pictures in training: through H.264, then covering the canvas.

Shapes:
    b h w c     ComfyUI's IMAGE, float in [0, 1]
    b c f h w   what the video VAE encodes, float in [-1, 1]
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LTX2Error
from ..packages import av, rearrange


def prepare_image(image: Tensor, width: int, height: int, *, crf: int) -> Tensor:
    """`image` (1, h, w, 3) as one conditioning frame (1, 3, 1, height, width) in [-1, 1], on the image's device.

    In this order: compression by H.264 at `crf` at the picture's own size (0: none), resizing to cover the canvas,
    centre crop, 2x - 1. Compression comes first because the model has learnt what videos look like at their own size:
    a picture without its traces makes a frozen clip.

    Raises: LTX2Error unless `image` is one RGB picture of finite numbers and 0 <= crf <= 51.
    """
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[3] != 3:
        raise LTX2Error(
            f"a conditioning image must be one RGB picture (1, height, width, 3); got {tuple(image.shape)}; "
            f"pick one picture of a batch, and drop an alpha channel"
        )
    if not 0 <= crf <= 51:
        raise LTX2Error(f"crf must be 0 (no compression) to 51; got {crf}; the released models use 33 or 18")
    if not bool(torch.isfinite(image).all()):
        raise LTX2Error("every pixel of a conditioning image must be a finite number; got NaN or infinity; check it")
    pixels = compress(image, crf) if crf else image.float()
    frame = cover(rearrange(pixels, "b h w c -> b c h w"), width, height)
    return rearrange(frame * 2 - 1, "b c h w -> b c 1 h w")


def compress(image: Tensor, crf: int) -> Tensor:
    """The (1, h, w, 3) picture after a round trip through H.264 (libx264 veryfast, yuv420p), cut to an even size.

    The colours go through FFmpeg's default matrix, not the writer's BT.709, as they do in the reference: both ways
    use the same one, so what is left is the rounding.
    """
    height, width = image.shape[1] // 2 * 2, image.shape[2] // 2 * 2
    if height == 0 or width == 0:
        raise LTX2Error(
            f"an image must be at least 2x2 pixels to be compressed; got {image.shape[2]}x{image.shape[1]}; "
            f"use a larger picture, or crf 0"
        )
    pixels = image[0, :height, :width].detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    decoded = _through_h264(np.ascontiguousarray(pixels.numpy()), crf)
    return torch.from_numpy(decoded).to(image.device, torch.float32).div(255)[None]


def cover(image: Tensor, width: int, height: int) -> Tensor:
    """Resize (b, c, h, w) bilinearly, without antialiasing, until it covers width x height; crop around the centre.

    scale = max(height / h, width / w); the new size is rounded up, so that it can never fall short of the canvas.
    """
    scale = max(height / image.shape[2], width / image.shape[3])
    size = (math.ceil(image.shape[2] * scale), math.ceil(image.shape[3] * scale))
    if size != tuple(image.shape[2:]):
        image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return image[:, :, top : top + height, left : left + width]


def _through_h264(pixels: np.ndarray, crf: int) -> np.ndarray:
    """uint8 (h, w, 3) -> uint8 (h, w, 3)"""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = pixels.shape[:2]
        stream.codec_context.thread_count = 1  # its result depends on them: one slice, on every machine
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")
