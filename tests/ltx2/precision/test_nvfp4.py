"""NVFP4 files, written by comfy-kitchen and, to see the layout itself, by hand."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from ltx2.checkpoint.inspection import describe
from ltx2.checkpoint.keys import NameTable
from ltx2.checkpoint.load import InMemory, build
from ltx2.errors import ModelFileError
from ltx2.precision.nvfp4 import expand_nvfp4, swizzled_shape
from ltx2.precision.packed import PackedLinear
from ltx2.recipe import TransformerRecipe

kitchen = pytest.importorskip("comfy_kitchen.tensor", reason="needs comfy-kitchen: pip install -e '.[dev]'")
TABLE = NameTable("network", "", ("",), keeps_other_names=True)
SAID = torch.frombuffer(bytearray(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)


def encode(matrix, said=True):
    """comfy-kitchen's encoder; its own decoder gives the numbers."""
    packed, given = kitchen.TensorCoreNVFP4Layout.quantize(matrix)
    numbers = kitchen.TensorCoreNVFP4Layout.dequantize(packed, given)[: matrix.shape[0], : matrix.shape[1]]
    parts = {"weight": packed, "weight_scale": given.block_scale, "weight_scale_2": given.scale}
    extra = {"comfy_quant": SAID.clone()} if said else {"input_scale": torch.tensor(0.01)}
    return {**parts, **extra}, numbers.contiguous()


@pytest.mark.parametrize("said", [True, False], ids=["ComfyUI", "released"])
def test_weights_compute_as_the_numbers_that_they_stand_for(said, dev, repack, run, assert_close):
    packed, plain = repack(dev, lambda matrix: encode(matrix, said))
    one, other = (TransformerRecipe.open(file).build() for file in (packed, plain))
    layers = [layer for layer in one.modules() if isinstance(layer, PackedLinear)]
    assert {layer.kept.format for layer in layers} == {"nvfp4"}
    assert_close(run(one), run(other))
    wide = one.blocks[0].video.feed_forward.linear_in
    assert wide.weight.nbytes == 640 * 160 // 2


def test_what_a_file_is_told_to_hold_counts_numbers_and_not_bytes(dev, repack):
    packed, plain = (describe(file) for file in repack(dev, encode))
    (one,), (other,) = ([line for line in text.splitlines() if "transformer  " in line] for text in (packed, plain))
    count = other.split(" parameters")[0]
    assert one.startswith(count)
    assert one.endswith("parameters, nvfp4, bf16")


@pytest.mark.parametrize("shape", [(128, 64), (130, 48), (24, 40), (16, 16), (300, 208)])
def test_any_size_is_expanded_as_by_comfy_kitchen(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    parts, numbers = encode(matrix)
    source = InMemory({f"0.{key}": part for key, part in parts.items()})
    network = build(lambda: nn.Sequential(nn.Linear(shape[1], shape[0], bias=False)), TABLE, source)
    x = torch.randn(5, shape[1])
    torch.testing.assert_close(network(x), x @ numbers.T, atol=1e-5, rtol=0)
    assert (numbers - matrix).norm() < 0.15 * matrix.norm()
    bf16 = network(x.bfloat16())
    assert (bf16 - x @ numbers.T).abs().max() < 0.02 * (x @ numbers.T).abs().max()


def test_the_layout_by_hand():
    """The first number of a byte is its high half; scale (r, c) of a tile is at (r % 32, r // 32, c)."""
    rows, columns = 160, 128
    numbers = torch.randint(0, 16, (rows, columns), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    packed = numbers[:, 0::2] << 4 | numbers[:, 1::2]
    scales = (torch.randperm(rows * 8, generator=torch.Generator().manual_seed(1)) % 100 + 1).view(rows, 8).float()
    height, width = swizzled_shape(rows, 8)
    assert (height, width) == (256, 8)
    laid = torch.zeros(height * width)
    for row in range(rows):
        for column in range(8):
            tile = row // 128 * (width // 4) + column // 4
            r, c = row % 128, column % 4
            laid[tile * 512 + r % 32 * 16 + r // 32 * 4 + c] = scales[row, column].to(torch.float8_e4m3fn).float()
    sign, magnitude = 1 - 2 * (numbers >> 3).float(), (numbers & 7).long()
    values = sign * torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])[magnitude]
    expected = values * scales.to(torch.float8_e4m3fn).float().repeat_interleave(16, dim=1) * 0.5
    laid = laid.view(height, width).to(torch.float8_e4m3fn)
    for as_bytes in (False, True):
        kept = laid.view(torch.uint8) if as_bytes else laid
        found = expand_nvfp4(packed, kept, torch.tensor(0.5), (rows, columns), torch.float32)
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda parts: parts.pop("weight_scale_2"), "nvfp4 without weight_scale_2"),
        (lambda parts: parts.pop("weight_scale"), "nvfp4 without weight_scale"),
        (lambda parts: parts.update(weight_scale=parts["weight_scale"][:32]), "weight_scale .*, not of 512 numbers"),
        (lambda parts: parts.update(weight=parts["weight"][:, :8]), r"weight \[32, 8\], not \[32, 64\] as nvfp4"),
        (lambda parts: parts.update(pre_quant_scale=torch.ones(64)), "its input is scaled before it"),
    ],
)
def test_what_is_missing_or_of_another_shape_is_said(change, message):
    parts, _ = encode(torch.randn(32, 64))
    change(parts)
    source = InMemory({f"0.{key}": part for key, part in parts.items()})
    with pytest.raises(ModelFileError, match=message):
        build(lambda: nn.Sequential(nn.Linear(64, 32, bias=False)), TABLE, source)


def test_files_that_keep_some_layers_in_fp8_and_some_in_four_bits(dev, repack, run, assert_close):
    def mixed(matrix):
        if matrix.shape[0] == matrix.shape[1]:
            return encode(matrix)
        packed = (matrix * 10).to(torch.float8_e4m3fn)
        return {"weight": packed, "weight_scale": torch.tensor(0.1)}, packed.float() * torch.tensor(0.1)

    packed, plain = (TransformerRecipe.open(file).build() for file in repack(dev, mixed))
    kept = {layer.kept.format for layer in packed.modules() if isinstance(layer, PackedLinear)}
    assert kept == {"nvfp4", "fp8_e4m3"}
    assert_close(run(packed), run(plain))
