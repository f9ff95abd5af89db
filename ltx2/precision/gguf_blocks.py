"""The blocks of GGUF files as numbers: what llama.cpp calls Q4_0 to Q8_0, and its k-quants.

Each row of the table takes apart the bytes of blocks, one block a row, and gives their numbers in fp32. Integers are
named after the fields of the format: d a block's scale, m its least number, qs and qh the low and the high bits.

Shapes: N blocks, B bytes of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: So many numbers are expanded at a time, in fp32.
_AT_ONCE = 2**23
_SUPER = 256


@dataclass(frozen=True)
class Block:
    """One type of block.

    Attributes:
        numbers: How many numbers it holds.
        num_bytes: In how many bytes.
        expand: (N, B) bytes -> (N, numbers) in fp32.
    """

    numbers: int
    num_bytes: int
    expand: Callable[[Tensor], Tensor]


def expand_blocks(packed: Tensor, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """The matrix of `shape` in `dtype` whose rows are blocks of the type `name`; `packed` is (rows, bytes)."""
    block = GGUF_BLOCKS[name]
    matrix = torch.empty(shape, dtype=dtype, device=packed.device)
    step = max(1, _AT_ONCE // shape[1])
    for rows, into in zip(packed.split(step), matrix.split(step), strict=True):
        into.copy_(block.expand(rows.reshape(-1, block.num_bytes)).view(into.shape))
    return matrix


def _half(two_bytes: Tensor) -> Tensor:
    """(N, 2) bytes as fp16 -> (N, 1)."""
    return two_bytes.contiguous().view(torch.float16).float()


def _cut(bytes: Tensor, bits: int) -> Tensor:
    """(..., K) -> (..., 8 / bits, K): each byte as numbers of so many bits, the lowest first."""
    # Made on the device: what is brought there holds it up.
    by = torch.arange(0, 8, bits, dtype=torch.uint8, device=bytes.device)[:, None]
    return (bytes[..., None, :] >> by) & (2**bits - 1)


def _nibbles(qs: Tensor) -> Tensor:
    """(N, K) -> (N, 2 K): the low halves of all bytes, then the high ones."""
    return _cut(qs, 4).flatten(1)


def _bits(qh: Tensor) -> Tensor:
    """(N, K) -> (N, 8 K): byte after byte, the lowest bit first."""
    by = torch.arange(8, dtype=torch.uint8, device=qh.device)
    return ((qh[..., None] >> by) & 1).flatten(1)


def _q4_0(block: Tensor) -> Tensor:
    d, qs = block.split((2, 16), dim=1)
    return _half(d) * (_nibbles(qs).float() - 8)


def _q4_1(block: Tensor) -> Tensor:
    d, m, qs = block.split((2, 2, 16), dim=1)
    return _half(d) * _nibbles(qs).float() + _half(m)


def _q5_0(block: Tensor) -> Tensor:
    d, qh, qs = block.split((2, 4, 16), dim=1)
    return _half(d) * ((_nibbles(qs) | (_bits(qh) << 4)).float() - 16)


def _q5_1(block: Tensor) -> Tensor:
    d, m, qh, qs = block.split((2, 2, 4, 16), dim=1)
    return _half(d) * (_nibbles(qs) | (_bits(qh) << 4)).float() + _half(m)


def _q8_0(block: Tensor) -> Tensor:
    d, qs = block.split((2, 32), dim=1)
    return _half(d) * qs.view(torch.int8).float()


def _q2_k(block: Tensor) -> Tensor:
    scales, qs, d, m = block.split((16, 64, 2, 2), dim=1)
    step = _half(d) * (scales & 15).float()
    least = _half(m) * (scales >> 4).float()
    q = _cut(qs.reshape(-1, 2, 32), 2).reshape(-1, 16, 16).float()
    return (step[..., None] * q - least[..., None]).flatten(1)


def _q3_k(block: Tensor) -> Tensor:
    qh, qs, scales, d = block.split((32, 64, 12, 2), dim=1)
    low = _cut(scales[:, :8], 4).flatten(1)
    high = _cut(scales[:, 8:], 2).flatten(1)
    step = _half(d) * ((low | (high << 4)).float() - 32)
    q = _cut(qs.reshape(-1, 2, 32), 2).reshape(-1, 16, 16).float()
    lifted = _cut(qh, 1).reshape(-1, 16, 16).float()
    return (step[..., None] * (q - 4 * (1 - lifted))).flatten(1)


def _steps_and_leasts(scales: Tensor) -> tuple[Tensor, Tensor]:
    """12 bytes -> two times eight numbers of six bits: (N, 8), (N, 8)."""
    d, m, both = scales.split(4, dim=1)
    steps = torch.cat((d & 63, (both & 15) | ((d >> 2) & 48)), dim=1)
    leasts = torch.cat((m & 63, (both >> 4) | ((m >> 2) & 48)), dim=1)
    return steps.float(), leasts.float()


def _q4_k(block: Tensor) -> Tensor:
    d, m, scales, qs = block.split((2, 2, 12, 128), dim=1)
    steps, leasts = _steps_and_leasts(scales)
    q = _cut(qs.reshape(-1, 4, 32), 4).reshape(-1, 8, 32).float()
    return ((_half(d) * steps)[..., None] * q - (_half(m) * leasts)[..., None]).flatten(1)


def _q5_k(block: Tensor) -> Tensor:
    d, m, scales, qh, qs = block.split((2, 2, 12, 32, 128), dim=1)
    steps, leasts = _steps_and_leasts(scales)
    low = _cut(qs.reshape(-1, 4, 32), 4).reshape(-1, 8, 32)
    q = (low | (_cut(qh, 1) << 4)).float()
    return ((_half(d) * steps)[..., None] * q - (_half(m) * leasts)[..., None]).flatten(1)


def _q6_k(block: Tensor) -> Tensor:
    qs, qh, scales, d = block.split((128, 64, 16, 2), dim=1)
    low = _cut(qs.reshape(-1, 2, 64), 4).reshape(-1, 8, 32)
    high = _cut(qh.reshape(-1, 2, 32), 2).reshape(-1, 8, 32)
    step = _half(d) * scales.view(torch.int8).float()
    q = (low | (high << 4)).reshape(-1, 16, 16).float() - 32
    return (step[..., None] * q).flatten(1)


GGUF_BLOCKS: Mapping[str, Block] = {
    "Q4_0": Block(32, 18, _q4_0),
    "Q4_1": Block(32, 20, _q4_1),
    "Q5_0": Block(32, 22, _q5_0),
    "Q5_1": Block(32, 24, _q5_1),
    "Q8_0": Block(32, 34, _q8_0),
    "Q2_K": Block(_SUPER, 84, _q2_k),
    "Q3_K": Block(_SUPER, 110, _q3_k),
    "Q4_K": Block(_SUPER, 144, _q4_k),
    "Q5_K": Block(_SUPER, 176, _q5_k),
    "Q6_K": Block(_SUPER, 210, _q6_k),
}
