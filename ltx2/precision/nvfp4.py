"""NVFP4: two numbers of four bits in a byte, a scale in fp8 for every 16 of a row, one in fp32 for all.

Scales lie as cuBLAS reads them: in tiles of 128 rows by 4 columns, with row r and column c at (r % 32, r // 32, c).

Shapes: R rows, C columns of the packed matrix: C is a multiple of 16, and R may have been padded to one.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

#: Numbers that share a scale.
GROUP = 16
_TILE_ROWS, _TILE_COLUMNS, _QUARTER = 128, 4, 32
#: What four bits stand for: a sign, two of exponent and one of mantissa.
_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def swizzled_shape(rows: int, columns: int) -> tuple[int, int]:
    """The shape of the scales (rows, columns) with whole tiles."""
    return -(-rows // _TILE_ROWS) * _TILE_ROWS, -(-columns // _TILE_COLUMNS) * _TILE_COLUMNS


def expand_nvfp4(packed: Tensor, scales: Tensor, scale: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """The matrix of `shape` in `dtype`: of a byte of `packed` (R, C / 2) the high bits are the first number."""
    rows, columns = packed.shape[0], 2 * packed.shape[1]
    grouped = F.embedding(packed.int(), _pairs(packed.device, dtype)).view(rows, columns // GROUP, GROUP)
    each = _unswizzled(scales, rows, columns // GROUP).float() * scale.float().view(())
    torch.mul(grouped, each[..., None], out=grouped)
    return grouped.view(rows, columns)[: shape[0], : shape[1]]


@lru_cache(maxsize=8)
def _pairs(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(256, 2): the two numbers of each byte."""
    values = torch.tensor((*_VALUES, *(-each for each in _VALUES)), dtype=dtype)
    return torch.stack((values.repeat_interleave(16), values.repeat(16)), dim=1).to(device)


def _unswizzled(scales: Tensor, rows: int, columns: int) -> Tensor:
    """Scales as they lie in a file -> (rows, columns), in their order."""
    if scales.dtype == torch.uint8:
        scales = scales.view(torch.float8_e4m3fn)
    padded = swizzled_shape(rows, columns)
    height, width = padded[0] // _TILE_ROWS, padded[1] // _TILE_COLUMNS
    tiles = scales.reshape(height, width, _QUARTER, _TILE_ROWS // _QUARTER, _TILE_COLUMNS)
    ordered = tiles.permute(0, 3, 2, 1, 4).reshape(padded)
    return ordered[:rows, :columns]
