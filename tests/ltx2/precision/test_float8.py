"""fp8 files: plainly cast, with scales, in every way of writing that down; what is wrong with one is said."""

from __future__ import annotations

import json
import logging
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ltx2.checkpoint.keys import NameTable
from ltx2.checkpoint.load import InMemory, build
from ltx2.errors import ModelFileError
from ltx2.precision.packed import PackedLinear
from ltx2.recipe import TextEncoderRecipe, TransformerRecipe

GEMMA_LINEARS = re.compile(r"layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight$")
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
TABLE = NameTable("network", "", ("",), keeps_other_names=True)


def scaled(dtype=E4M3, names=("weight_scale", "input_scale"), said=None, rows=False):
    def encode(matrix):
        largest = matrix.abs().amax(dim=1, keepdim=True) if rows else matrix.abs().amax()
        scale = largest / torch.finfo(dtype).max
        packed = (matrix / scale).to(dtype)
        parts = {"weight": packed, names[0]: scale}
        if len(names) > 1:
            parts[names[1]] = torch.tensor(0.01)
        if said is not None:
            parts["comfy_quant"] = text(said)
        return parts, packed.float() * scale

    return encode


def text(said):
    return torch.frombuffer(bytearray(json.dumps(said).encode()), dtype=torch.uint8).clone()


def in_metadata(file):
    """The same file with what it says of its layers in the metadata."""
    layers = [key.removesuffix(".weight") for key, tensor in load_file(file).items() if tensor.dtype == E4M3]
    return {"_quantization_metadata": json.dumps({"layers": {layer: {"format": "float8_e4m3fn"} for layer in layers}})}


WAYS = {
    "released": (scaled(), None),
    "without an input scale": (scaled(names=("weight_scale",)), None),
    "a scale for each row": (scaled(names=("weight_scale",), rows=True), None),
    "e5m2": (scaled(E5M2), None),
    "older ComfyUI": (scaled(names=("scale_weight", "scale_input")), {"model.diffusion_model.scaled_fp8": E4M3}),
    "newer ComfyUI": (scaled(said={"format": "float8_e4m3fn"}), None),
}


@pytest.mark.parametrize("way", WAYS)
def test_scaled_weights_compute_as_the_numbers_that_they_stand_for(way, dev, repack, run, assert_close):
    encode, marker = WAYS[way]
    extra = {key: torch.zeros(2, dtype=dtype) for key, dtype in (marker or {}).items()}
    packed, plain = (TransformerRecipe.open(file) for file in repack(dev, encode, extra=extra))
    network = packed.build()
    layers = [layer for layer in network.modules() if isinstance(layer, PackedLinear)]
    assert len(layers) == 2 * 2 * (3 * 4 + 2)  # blocks, streams; three attentions and a feed-forward network
    assert {layer.weight.dtype for layer in layers} == {E5M2 if way == "e5m2" else E4M3}
    assert {layer.kept.computes_plainly for layer in layers} == {way == "older ComfyUI"}
    assert_close(run(network), run(plain.build()))


def test_what_the_metadata_say_counts_as_what_tensors_say(dev, repack, run, assert_close):
    packed, plain = repack(dev, scaled())
    packed, _ = repack(dev, scaled(), metadata=in_metadata(packed))
    assert_close(run(TransformerRecipe.open(packed).build()), run(TransformerRecipe.open(plain).build()))


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
@pytest.mark.parametrize("which", [r"transformer_blocks\..*weight$", r"model\.diffusion_model\."])
def test_plainly_cast_files_need_no_scale(dtype, which, dev, repack, run, assert_close):
    """Of the layers of the blocks, or of everything, tables and norms included."""

    def encode(tensor):
        return {"weight" if tensor.dim() else "": tensor.to(dtype)}, tensor.to(dtype).float()

    tensors = load_file(dev)
    cast = {key: value.to(dtype) if re.search(which, key) else value for key, value in tensors.items()}
    spread = {key: value.float() if value.dtype == dtype else value for key, value in cast.items()}
    networks = []
    for number, each in enumerate((cast, spread)):
        _, file = repack(dev, encode, re.compile("nothing"))
        save_file(each, named := file.with_name(f"{number}.safetensors"), metadata_of(file))
        networks.append(TransformerRecipe.open(named).build())
    assert networks[0].blocks[0].video.self_attention.to_q.weight.dtype == dtype
    assert_close(run(networks[0]), run(networks[1]))


def metadata_of(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_gemma_with_scales(tiny_models, dev, repack, tmp_path, assert_close):
    folder = next((tiny_models("2.3") / "text_encoders").iterdir())
    weights = {}
    for shard in sorted(folder.glob("*.safetensors")):
        weights |= load_file(shard)
    (tmp_path / "single.safetensors").unlink(missing_ok=True)
    save_file(weights, tmp_path / "single.safetensors", {"gemma_config": (folder / "config.json").read_text()})
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    encoders = [
        TextEncoderRecipe.open(file, dev).build()
        for file in repack(tmp_path / "single.safetensors", scaled(), GEMMA_LINEARS)
    ]
    layers = [layer for layer in encoders[0].gemma.modules() if isinstance(layer, PackedLinear)]
    assert len(layers) == 7 * 7
    with torch.no_grad():
        one, other = (encoder("a red fox", device=torch.device("cpu")) for encoder in encoders)
    assert_close(one, other)


def test_the_reference_s_scaled_layer(golden):
    case = golden("fp8_scaled_linear")
    network = build(lambda: nn.Sequential(nn.Linear(32, 24)), TABLE, InMemory(named(case)))
    torch.testing.assert_close(
        network(case.inputs["x"]), case.outputs["y_weight_only"], atol=1e-5, rtol=0, check_dtype=False
    )
    assert network[0].state_dict().keys() == {"weight", "bias", "weight_scale", "input_scale"}


def named(case):
    """The fixture's one layer, as the first of a network."""
    return {f"0.{key.rpartition('.')[2]}": value for key, value in case.weights.items()}


MATRIX = torch.randn(16, 32, generator=torch.Generator().manual_seed(0)).to(E4M3)
ONE = torch.ones(())


@pytest.mark.parametrize(
    "tensors,message",
    [
        (
            {"0.weight": MATRIX, "0.input_scale": ONE, "0.comfy_quant": {"format": "float8_e4m3fn"}},
            "without weight_scale",
        ),
        ({"0.weight": MATRIX, "0.weight_scale": torch.ones(3)}, r"weight_scale \[3\], not of 1 or 16 numbers"),
        (
            {"0.weight": MATRIX, "0.weight_scale": torch.ones(4, 4)},
            r"\[4, 4\], of blocks .* each row, \[16\] or \[16, 1\]",
        ),
        (
            {"0.weight": MATRIX, "0.weight_scale": torch.ones(1, 16)},
            r"\[1, 16\], of blocks or columns and not one number",
        ),
        ({"0.weight": MATRIX, "0.weight_scale_inv": torch.ones(4, 4)}, "1 not known: 0.weight_scale_inv"),
        ({"0.weight": MATRIX, "0.weight_scale": ONE, "0.input_scale": torch.ones(2)}, r"input_scale \[2\], not of 1"),
        ({"0.weight": MATRIX[:8], "0.weight_scale": ONE}, r"0.weight \[8, 32\], not \[16, 32\] as fp8_e4m3"),
        ({"0.weight": MATRIX.float(), "0.weight_scale": ONE}, "F32 with a scale"),
        ({"0.weight": MATRIX, "0.weight_scale": ONE, "1.weight_scale": ONE}, "1 not known: 1.weight_scale"),
        ({"0.weight_scale": ONE}, "1 missing: 0.weight"),
        (
            {"0.weight": MATRIX, "0.weight_scale": ONE, "0.comfy_quant": {"format": "mxfp8"}},
            "mxfp8; known are float8_e4m3fn",
        ),
        (
            {"0.weight": MATRIX, "0.weight_scale": ONE, "0.comfy_quant": {"format": "float8_e5m2"}},
            "said to be float8_e5m2 and is F8_E4M3",
        ),
        ({"0.weight": MATRIX, "0.weight_scale": ONE, "0.pre_quant_scale": torch.ones(32)}, "pre_quant_scale"),
        ({"0.weight": MATRIX, "0.weight_scale": ONE, "0.comfy_quant": [1]}, "must be a JSON object"),
    ],
)
def test_what_is_wrong_with_scales_is_said(tensors, message):
    tensors = {key: value if isinstance(value, torch.Tensor) else text(value) for key, value in tensors.items()}
    with pytest.raises(ModelFileError, match=message):
        build(lambda: nn.Sequential(nn.Linear(32, 16, bias=False)), TABLE, InMemory(tensors))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (16,), (16, 1)])
def test_a_scale_is_for_the_matrix_or_for_each_row(shape):
    scale = torch.rand(shape) + 0.5
    tensors = InMemory({"0.weight": MATRIX, "0.weight_scale": scale})
    network = build(lambda: nn.Sequential(nn.Linear(32, 16, bias=False)), TABLE, tensors)
    rows = scale.flatten().expand(16)
    torch.testing.assert_close(network(torch.eye(32)).T, MATRIX.float() * rows[:, None], atol=1e-6, rtol=0)


def test_a_scale_that_one_layer_lacks(dev, repack):
    packed, _ = repack(dev, scaled())
    tensors = load_file(packed)
    gone = "model.diffusion_model.transformer_blocks.1.ff.net.2.weight"
    del tensors[f"{gone}_scale"]
    save_file(tensors, packed.with_name("less.safetensors"), metadata_of(packed))
    with pytest.raises(ModelFileError, match=f"1 in fp8 without the scale that others have: {re.escape(gone)}"):
        TransformerRecipe.open(packed.with_name("less.safetensors"))


def test_layers_move_with_their_scales_and_count_them(dev, repack):
    network = TransformerRecipe.open(repack(dev, scaled())[0]).build()
    layer = network.blocks[0].video.feed_forward.linear_in
    assert sum(tensor.nbytes for tensor in layer.state_dict().values()) == 160 * 640 + 2 * 640 + 2 * 4
    layer.weight_function.append(lambda weight: weight * 2)
    x = torch.randn(3, 160)
    doubled = layer(x)
    layer.weight_function.clear()
    torch.testing.assert_close(doubled - layer(x), layer(x) - layer.bias.float(), atol=1e-5, rtol=0)
    moved = layer.to("meta")
    assert {tensor.device.type for tensor in (*moved.parameters(), *moved.buffers())} == {"meta"}


def test_the_log_says_how_many_layers_are_kept_in_what(dev, repack, caplog):
    with caplog.at_level(logging.INFO, logger="ltx2"):
        TransformerRecipe.open(repack(dev, scaled())[0]).build()
    assert re.search(r"packed.safetensors: \d+ linear layers: 56 fp8_e4m3 scaled, \d+ bfloat16;", caplog.text)
