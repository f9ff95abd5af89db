"""Every type of block against the decoder of the gguf package, which says how large each is, too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltx2.precision import gguf_blocks
from ltx2.precision.gguf_blocks import GGUF_BLOCKS, expand_blocks

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install -e '.[dev]'")
#: Where halves lie in a block: their values are drawn, for among all bytes there are infinities.
HALVES = {
    **{"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,)},
    **{"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)},
}


def any_blocks(name, rows, columns):
    """Blocks of random bytes (rows, bytes)."""
    block, generator = GGUF_BLOCKS[name], np.random.default_rng(0)
    count = rows * columns // block.numbers
    blocks = generator.integers(0, 256, (count, block.num_bytes), dtype=np.uint8)
    for place in HALVES[name]:
        halves = generator.normal(size=(count, 1)).astype(np.float16)
        blocks[:, place : place + 2] = halves.view(np.uint8)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("name", GGUF_BLOCKS)
def test_blocks_are_the_package_s(name):
    kind = gguf.GGMLQuantizationType[name]
    assert gguf.GGML_QUANT_SIZES[kind] == (GGUF_BLOCKS[name].numbers, GGUF_BLOCKS[name].num_bytes)
    packed = any_blocks(name, 3, 1024)
    expected = torch.from_numpy(gguf.quants.dequantize(packed, kind))
    found = expand_blocks(torch.from_numpy(packed), name, (3, 1024), torch.float32)
    assert torch.equal(found, expected)
    assert len(found.unique()) > 200
    assert torch.equal(expand_blocks(torch.from_numpy(packed), name, (3, 1024), torch.bfloat16), expected.bfloat16())


@pytest.mark.parametrize("name", GGUF_BLOCKS)
def test_nothing_is_brought_to_the_device(monkeypatch, name):
    """It would hold up a GPU at each use, and cannot be recorded."""
    packed = torch.from_numpy(any_blocks(name, 3, 1024))
    monkeypatch.setattr(torch, "tensor", None)
    assert expand_blocks(packed, name, (3, 1024), torch.float32).shape == (3, 1024)


def test_large_matrices_are_expanded_in_parts(monkeypatch):
    packed = torch.from_numpy(any_blocks("Q4_K", 7, 512))
    whole = expand_blocks(packed, "Q4_K", (7, 512), torch.float32)
    monkeypatch.setattr(gguf_blocks, "_AT_ONCE", 1024)
    assert torch.equal(expand_blocks(packed, "Q4_K", (7, 512), torch.float32), whole)
