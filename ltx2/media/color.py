"""From RGB to the planes that a video encoder takes, in float, so that values are rounded once.

Shapes:
    h w     height and width in pixels, both even
    c       red, green, blue
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-R BT.709: weights of red, green and blue in luma.
_RED, _GREEN, _BLUE = 0.2126, 0.7152, 0.0722


def rgb_to_yuv420(image: Tensor) -> Tensor:
    """One RGB picture (h, w, c) in [0, 1] as BT.709 limited-range 4:2:0, uint8 of (h * 3 / 2, w).

    Y = 16 + 219 Y'; Cb = 128 + 224 (B' - Y') / 1.8556; Cr = 128 + 224 (R' - Y') / 1.5748. The rows are luma, then Cb,
    then Cr, packed as PyAV's `yuv420p` arrays are. Chroma sits where H.264 puts it by default: on the left luma column
    of its pair and half-way between the two rows. Values outside [0, 1] are clipped. Runs where the picture is: what
    leaves an accelerator is an eighth of the float picture.
    """
    # Sums of products rather than a matrix product: no reduced-precision mode of the host can touch them.
    red, green, blue = image.float().clamp(0.0, 1.0).unbind(-1)
    luma = _RED * red + _GREEN * green + _BLUE * blue
    chroma_blue = _subsample((blue - luma) / (2 * (1 - _BLUE)))
    chroma_red = _subsample((red - luma) / (2 * (1 - _RED)))
    planes = [16 + 219 * luma, 128 + 224 * chroma_blue, 128 + 224 * chroma_red]
    height, width = luma.shape
    flat = torch.cat([plane.flatten() for plane in planes])
    return flat.round().to(torch.uint8).reshape(height * 3 // 2, width)


def _subsample(plane: Tensor) -> Tensor:
    """(h, w) -> (h/2, w/2): [1 2 1] / 4 around every even column, mean of every two rows."""
    padded = F.pad(plane[None], (1, 0), mode="replicate")[0]
    columns = (padded[:, 0:-1:2] + 2 * padded[:, 1::2] + padded[:, 2::2]) / 4
    return (columns[0::2] + columns[1::2]) / 2
