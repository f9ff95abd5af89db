"""Frames of a clip beside each other in one picture.

Shapes: f h w latent frames, rows, columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..packages import Image

_MOST_FRAMES = 4
_GAP = 4  # pixels between frames
_GAP_COLOUR = (24, 24, 24)


def sheet(pixels: Tensor, side: int) -> Image.Image:
    """Small frames (3, f, h, w), about -1 to 1, as a picture whose longer side has `side` pixels (at most).

    It shows the first frame, the last and two between them, from left to right and then down, or what there is.
    """
    count = min(_MOST_FRAMES, pixels.shape[1])
    chosen = torch.linspace(0, pixels.shape[1] - 1, count).round().long()
    rows, columns = _layout(count, pixels.shape[2], pixels.shape[3])
    width, height = _frame_size(pixels.shape[3], pixels.shape[2], rows, columns, side)
    picture = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP), _GAP_COLOUR)
    values = pixels[:, chosen].float().nan_to_num().add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8)
    for place, frame in enumerate(values.permute(1, 2, 3, 0)):
        row, column = divmod(place, columns)
        image = Image.fromarray(frame.contiguous().numpy()).resize((width, height), Image.Resampling.BICUBIC)
        picture.paste(image, (column * (width + _GAP), row * (height + _GAP)))
    return picture


def _layout(count: int, height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of a full grid that is as square as can be."""
    grids = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
    return min(grids, key=lambda grid: max(grid[0] * height, grid[1] * width))


def _frame_size(width: int, height: int, rows: int, columns: int, side: int) -> tuple[int, int]:
    """Pixels of a frame on the sheet, (width, height), at least 1 each."""
    scale = min((side - (columns - 1) * _GAP) / (columns * width), (side - (rows - 1) * _GAP) / (rows * height))
    return max(1, int(width * scale)), max(1, int(height * scale))
