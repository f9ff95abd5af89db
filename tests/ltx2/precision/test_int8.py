"""int8 files: one scale or one for each row, and columns that were rotated before they were rounded."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from ltx2.checkpoint.keys import NameTable
from ltx2.checkpoint.load import InMemory, build
from ltx2.errors import ModelFileError
from ltx2.precision.formats import hadamard
from ltx2.recipe import TransformerRecipe

kitchen = pytest.importorskip("comfy_kitchen.tensor", reason="needs comfy-kitchen: pip install -e '.[dev]'")
TABLE = NameTable("network", "", ("",), keeps_other_names=True)


def encoder(said=None, **options):
    """comfy-kitchen's, and its own decoder."""

    def encode(matrix):
        packed, given = kitchen.TensorWiseINT8Layout.quantize(matrix, **options)
        parts = {"weight": packed, "weight_scale": given.scale}
        if said is not None:
            parts["comfy_quant"] = torch.frombuffer(bytearray(json.dumps(said).encode()), dtype=torch.uint8).clone()
        return parts, kitchen.TensorWiseINT8Layout.dequantize(packed, given).contiguous()

    return encode


@pytest.mark.parametrize(
    "encode",
    [
        encoder(),
        encoder(per_channel=True),
        encoder({"format": "int8_tensorwise"}, per_channel=True),
        encoder(
            {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 16},
            per_channel=True,
            convrot=True,
            convrot_groupsize=16,
        ),
        encoder(
            {"format": "int8_tensorwise", "params": {"convrot": True, "convrot_groupsize": 4}},
            per_channel=True,
            convrot=True,
            convrot_groupsize=4,
        ),
    ],
    ids=["a scale", "rows", "said", "rotated by 16", "rotated by 4"],
)
def test_int8_weights_compute_as_the_numbers_that_they_stand_for(encode, dev, repack, run, assert_close):
    packed, plain = (TransformerRecipe.open(file).build() for file in repack(dev, encode))
    assert packed.blocks[0].audio.text_attention.to_v.weight.dtype == torch.int8
    assert_close(run(packed), run(plain))


def test_the_rotation_is_the_released_one_and_its_own_inverse():
    for size in (4, 16, 64, 256):
        turn = hadamard(size, torch.device("cpu"), torch.float32)
        torch.testing.assert_close(turn @ turn, torch.eye(size), atol=1e-6, rtol=0)
    matrix = torch.randn(8, 512, generator=torch.Generator().manual_seed(0))
    said = {"format": "int8_tensorwise", "convrot": True}  # of 256 columns, where nothing else is said
    parts, numbers = encoder(said, per_channel=True, convrot=True, convrot_groupsize=256)(matrix)
    source = InMemory({f"0.{key}": part for key, part in parts.items()})
    layer = build(lambda: nn.Sequential(nn.Linear(512, 8, bias=False)), TABLE, source)
    x = torch.randn(5, 512)
    torch.testing.assert_close(layer(x), x @ numbers.T, atol=1e-4, rtol=1e-5)
    bf16 = layer(x.bfloat16())
    assert (bf16 - x @ numbers.T).abs().max() < 0.02 * (x @ numbers.T).abs().max()


@pytest.mark.parametrize(
    "said,message",
    [
        (
            {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 8},
            "8 of its 32 columns rotated together",
        ),
        ({"format": "int8_tensorwise", "convrot": True}, "256 of its 32 columns rotated together"),
        ({"format": "convrot_w4a4"}, "convrot_w4a4; known are"),
    ],
)
def test_what_is_not_known_is_refused_in_words(said, message):
    parts, _ = encoder(said, per_channel=True)(torch.randn(8, 32))
    source = InMemory({f"0.{key}": part for key, part in parts.items()})
    with pytest.raises(ModelFileError, match=message):
        build(lambda: nn.Sequential(nn.Linear(32, 8, bias=False)), TABLE, source)


def test_a_weight_without_its_scale_is_refused():
    source = InMemory({"0.weight": torch.zeros(8, 32, dtype=torch.int8)})
    with pytest.raises(ModelFileError, match="0.weight .int8 without weight_scale"):
        build(lambda: nn.Sequential(nn.Linear(32, 8, bias=False)), TABLE, source)
