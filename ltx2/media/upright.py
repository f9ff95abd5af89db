"""A decoded video frame as RGB: its colour matrix, the shape of its pixels, its rotation.

Shapes: h w c   height, width, RGB
"""

from __future__ import annotations

import numpy as np

from ..packages import av, reformatter

# What a file that does not say is taken for, as players do: BT.709 for high definition, BT.601 below.
_UNSPECIFIED = (0, 2, 3)
_HIGH_DEFINITION = 720
# libswscale's flags bicubic, full chroma (of the target, of the source) and exact rounding: its default is off by up
# to 3 levels. By number, as older versions of PyAV do not name them all.
_EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000


def upright_rgb(frame: av.VideoFrame, pixel_aspect: float = 1.0) -> np.ndarray:
    """(h, w, c) uint8 of `frame` as it is meant to be seen: upright, full range, its width times `pixel_aspect`."""
    matrix = frame.colorspace
    if matrix in _UNSPECIFIED:
        matrix = reformatter.Colorspace.ITU709 if frame.height >= _HIGH_DEFINITION else reformatter.Colorspace.ITU601
    # RGB has no matrix, but some versions of PyAV only tell FFmpeg the source's where the two differ.
    other = reformatter.Colorspace.ITU601 if matrix == reformatter.Colorspace.ITU709 else reformatter.Colorspace.ITU709
    rgb = frame.reformat(
        width=round(frame.width * pixel_aspect),
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=other,
        interpolation=_EXACT,
    )
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), k=round(frame.rotation / 90)))
