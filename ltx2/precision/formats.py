"""How files keep a matrix in fewer bits than it is computed in, and what turns it into numbers: a table.

Formats are named as logs and reports show them. A row reads the matrix as it lies in the file (`packed`) with what
stands beside it (`parts`: scales), on whatever device they are, and gives it in the dtype that is computed in.

Shapes: O out features, I in features of the matrix (O, I).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .gguf_blocks import GGUF_BLOCKS, expand_blocks
from .nvfp4 import GROUP, expand_nvfp4, swizzled_shape

#: Names of what stands beside a matrix: buffers of its layer.
SCALE, SECOND_SCALE, INPUT_SCALE = "weight_scale", "weight_scale_2", "input_scale"

Parts = Mapping[str, Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kept:
    """How one matrix is kept.

    Attributes:
        format: A key of `FORMATS`.
        shape: (O, I) of the matrix itself.
        rotation: So many columns each were turned by a Hadamard matrix before they were rounded; 0 for none.
        computes_plainly: Whether the file asks that this matrix is never multiplied in its own format.
    """

    format: str
    shape: tuple[int, int]
    rotation: int = 0
    computes_plainly: bool = False


@dataclass(frozen=True)
class Format:
    """One way to keep a matrix.

    Attributes:
        expand: (packed, parts, kept, dtype) -> the matrix (O, I) in `dtype`.
        packed_shapes: kept -> the shapes that a file may state for the packed matrix.
        scales: kept -> {part that must be there: how many numbers it may have}.
        may_have: Parts that may be there besides.
        by_row: Parts whose numbers, where they are several, stand one for each row, along the first axis.
    """

    expand: Callable[[Tensor, Parts, Kept, torch.dtype], Tensor]
    packed_shapes: Callable[[Kept], tuple[Shape, ...]]
    scales: Callable[[Kept], Mapping[str, tuple[int, ...]]]
    may_have: tuple[str, ...] = ()
    by_row: tuple[str, ...] = ()


def expand(packed: Tensor, parts: Parts, kept: Kept, dtype: torch.dtype) -> Tensor:
    """The matrix (O, I) in `dtype`, on the device of `packed`, where `parts` must be, too."""
    return FORMATS[kept.format].expand(packed, parts, kept, dtype)


@lru_cache(maxsize=8)
def hadamard(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The regular Hadamard matrix of a power of four, divided by its root: symmetric, and its own inverse."""
    four = torch.ones(4, 4).sub_(2 * torch.eye(4).flip(0))
    matrix = four
    while len(matrix) < size:
        matrix = torch.kron(matrix, four)
    return (matrix / size**0.5).to(device, dtype)


def _scaled(matrix: Tensor, scale: Tensor) -> Tensor:
    """`matrix` times one number, or one for each row; the product is rounded once, into the memory of `matrix`."""
    return torch.mul(matrix, scale.float().view(-1, 1), out=matrix)


def _expand_float(packed: Tensor, parts: Parts, _: Kept, dtype: torch.dtype) -> Tensor:
    return _scaled(packed.to(dtype), parts[SCALE])


def _expand_int8(packed: Tensor, parts: Parts, kept: Kept, dtype: torch.dtype) -> Tensor:
    matrix = packed.to(dtype)
    if kept.rotation:
        # Before the scales, for whole numbers and the rotation are exact in every dtype.
        groups = matrix.view(-1, kept.rotation)
        matrix = (groups @ hadamard(kept.rotation, groups.device, dtype)).view(kept.shape)
    return _scaled(matrix, parts[SCALE])


def _expand_nvfp4(packed: Tensor, parts: Parts, kept: Kept, dtype: torch.dtype) -> Tensor:
    return expand_nvfp4(packed, parts[SCALE], parts[SECOND_SCALE], kept.shape, dtype)


def _expand_gguf(packed: Tensor, _: Parts, kept: Kept, dtype: torch.dtype) -> Tensor:
    return expand_blocks(packed, kept.format, kept.shape, dtype)


def _as_it_is(kept: Kept) -> tuple[Shape, ...]:
    return (kept.shape,)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _nvfp4_shapes(kept: Kept) -> tuple[Shape, ...]:
    rows, columns = kept.shape
    return tuple({(r, _up(columns, GROUP) // 2) for r in (rows, _up(rows, GROUP))})


def _nvfp4_scales(kept: Kept) -> Mapping[str, tuple[int, ...]]:
    # Padding to 16 rows never takes another tile.
    height, width = swizzled_shape(kept.shape[0], _up(kept.shape[1], GROUP) // GROUP)
    return {SCALE: (height * width,), SECOND_SCALE: (1,)}


def _row_or_whole(kept: Kept) -> Mapping[str, tuple[int, ...]]:
    return {SCALE: (1, kept.shape[0])}


def _no_scales(_: Kept) -> Mapping[str, tuple[int, ...]]:
    return {}


_FLOAT8 = Format(_expand_float, _as_it_is, _row_or_whole, (INPUT_SCALE,), by_row=(SCALE,))
FORMATS: Mapping[str, Format] = {
    "fp8_e4m3": _FLOAT8,
    "fp8_e5m2": _FLOAT8,
    "int8": Format(_expand_int8, _as_it_is, _row_or_whole, (INPUT_SCALE,), by_row=(SCALE,)),
    "nvfp4": Format(_expand_nvfp4, _nvfp4_shapes, _nvfp4_scales, (INPUT_SCALE,)),
    **{name: Format(_expand_gguf, _as_it_is, _no_scales) for name in GGUF_BLOCKS},
}
