"""What a user chooses: fp8 cast as the reference casts, products in fp8 as the reference's, and refusals in words."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from ltx2.checkpoint.keys import NameTable
from ltx2.checkpoint.load import InMemory, build
from ltx2.errors import LTX2Error
from ltx2.precision.cast import CastLinear
from ltx2.precision.choices import AS_STORED, FP8_CAST, FP8_MATMUL, PRECISIONS, check_device
from ltx2.precision.low_rank import put_beside
from ltx2.precision.matmul import Fp8Linear, multiply_in_fp8, why_not_on
from ltx2.precision.packed import PackedLinear
from ltx2.precision.summary import in_words
from ltx2.recipe import TransformerRecipe

TABLE = NameTable("network", "", ("",), keeps_other_names=True)
CPU, E4M3 = torch.device("cpu"), torch.float8_e4m3fn


def scaled(matrix):
    scale = matrix.abs().amax() / 448
    packed = (matrix / scale).to(E4M3)
    return {"weight": packed, "weight_scale": scale}, packed.float() * scale


def layer(weights, *, in_features, out_features, bias=True):
    source = InMemory({f"0.{key}": value for key, value in weights.items()})
    return build(lambda: nn.Sequential(nn.Linear(in_features, out_features, bias=bias)), TABLE, source)


@pytest.fixture
def supported():
    if why := why_not_on(CPU, torch.float32):
        pytest.skip(f"needs a torch that multiplies fp8 on the CPU: {why}")


def test_products_are_the_reference_s(golden, supported):
    case = golden("fp8_scaled_linear")
    weights = {key.rpartition(".")[2]: value for key, value in case.weights.items()}
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-7)):
        (linear,) = layer(weights, in_features=32, out_features=24)
        linear.__class__ = Fp8Linear  # 24 is a multiple that CPUs take and GPUs do not
        output = linear(case.inputs["x"].to(dtype))
        expected = case.outputs["y_fp32" if dtype == torch.float32 else "y_bf16"]
        assert output.dtype == dtype
        torch.testing.assert_close(output.float(), expected.float(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_products_stay_within_what_rounding_the_input_can_do(bias, supported):
    """A number rounds to fp8 by 2^-4 of itself at most, or by 2^-10 of the input's scale where it is very small."""
    generator = torch.Generator().manual_seed(0)
    matrix, x = (torch.randn(*shape, generator=generator) for shape in ((48, 64), (3, 5, 64)))
    packed, numbers = scaled(matrix)
    extra = {"bias": torch.randn(48, generator=generator)} if bias else {}
    network = layer({**packed, **extra}, in_features=64, out_features=48, bias=bias)
    exact = nn.functional.linear(x, numbers, extra.get("bias"))
    torch.testing.assert_close(network(x), exact, atol=1e-5, rtol=0)
    multiply_in_fp8(network)
    assert type(network[0]) is Fp8Linear
    step = x.abs().max() / 448
    bound = 2**-4 * x.abs() @ numbers.abs().T + 2**-10 * step * numbers.abs().sum(dim=1) + 1e-5
    error = (network(x) - exact).abs()
    assert (error <= bound).all()
    assert error.max() > 1e-3, "nothing was rounded"


def test_changes_beside_a_layer_that_multiplies_in_fp8(supported):
    packed, _ = scaled(torch.randn(48, 64))
    network, x = layer(packed, in_features=64, out_features=48, bias=False), torch.randn(4, 64)
    multiply_in_fp8(network)
    before, (down, up) = network(x), (torch.randn(2, 64), torch.randn(48, 2))
    put_beside(network[0], [(down, up, 0.5)])
    torch.testing.assert_close(network(x), before + 0.5 * x @ down.T @ up.T, atol=1e-4, rtol=0)
    put_beside(network[0], [])
    assert type(network[0]) is Fp8Linear


def test_a_host_that_changes_weights_on_their_way_gets_the_whole_weight():
    packed, numbers = scaled(torch.randn(48, 64))
    network, x = layer(packed, in_features=64, out_features=48, bias=False), torch.randn(4, 64)
    multiply_in_fp8(network)
    network[0].weight_function.append(lambda weight: 2 * weight)
    torch.testing.assert_close(network(x), 2 * x @ numbers.T, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "change,reason",
    [
        (lambda matrix: {"weight_scale": torch.ones(16)}, "a scale for each row"),
        (lambda matrix: {"weight": matrix.to(torch.float8_e5m2)}, "kept in fp8_e5m2"),
        (lambda matrix: {"comfy_quant": said()}, "the file asks for full precision"),
    ],
)
def test_layers_that_cannot_compute_as_before_and_the_log_says_why(change, reason):
    matrix = torch.randn(16, 32)
    weights = {**scaled(matrix)[0], **change(matrix)}
    network = layer(weights, in_features=32, out_features=16, bias=False)
    multiply_in_fp8(network)
    assert type(network[0]) is PackedLinear
    network.append(layer(scaled(matrix)[0], in_features=32, out_features=16, bias=False)[0])
    multiply_in_fp8(network)
    assert in_words(network).endswith(f"1 multiply in fp8, 1 not ({reason})")


def said():
    return torch.frombuffer(
        bytearray(b'{"format": "float8_e4m3fn", "full_precision_matrix_mult": true}'), dtype=torch.uint8
    )


def test_a_network_multiplies_in_fp8(dev, repack, run, supported):
    packed, _ = repack(dev, scaled)
    recipe = TransformerRecipe.open(packed)
    exact, network = run(recipe.build()), recipe.with_precision(FP8_MATMUL).build()
    assert sum(isinstance(module, Fp8Linear) for module in network.modules()) == 56
    for one, other in zip(exact, run(network), strict=True):
        assert nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999
        assert not torch.equal(one, other)


def test_the_reference_s_layers_are_cast(dev, repack, run, assert_close):
    cast = TransformerRecipe.open(dev).with_precision(FP8_CAST)
    network = cast.build()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, CastLinear)}
    chosen = re.compile(r"blocks\.\d+\..*\.(to_q|to_k|to_v|to_out|linear_in|linear_out)$")
    for name, module in layers.items():
        tensors = [tensor for tensor in (module.weight, module.bias) if tensor is not None]
        assert all((tensor.dtype == E4M3) == bool(chosen.match(name)) for tensor in tensors), name
    tables = [p for name, p in network.named_parameters() if name.rpartition(".")[0] not in layers]
    assert all(table.dtype != E4M3 for table in tables)
    plain = TransformerRecipe.open(dev).build()
    for name in layers:
        if chosen.match(name):
            twin = plain.get_submodule(name)
            twin.weight.data = twin.weight.to(E4M3).to(torch.bfloat16)
            twin.bias.data = twin.bias.to(E4M3).to(torch.bfloat16)
    assert_close(run(network), run(plain))


def test_choices_that_a_file_cannot_have_are_refused(dev, repack):
    bf16, fp8 = TransformerRecipe.open(dev), TransformerRecipe.open(repack(dev, scaled)[0])
    with pytest.raises(LTX2Error, match=r"'fp8 scaled matmul' takes a file with fp8 .* in BF16: choose the fp8 file"):
        bf16.with_precision(FP8_MATMUL)
    with pytest.raises(LTX2Error, match=r"'fp8 cast' takes a file with bf16.* 56 in fp8_e4m3.*choose 'as stored'"):
        fp8.with_precision(FP8_CAST)
    with pytest.raises(LTX2Error, match="must be one of as stored, fp8 cast, fp8 scaled matmul; got 'int3'"):
        bf16.with_precision("int3")
    assert bf16.with_precision(AS_STORED) == bf16 != bf16.with_precision(FP8_CAST)
    assert bf16.with_precision(FP8_CAST).restack(bf16) is None


def test_devices_that_cannot_are_refused():
    meta = torch.device("meta")
    with pytest.raises(LTX2Error, match="'fp8 scaled matmul' must be something that meta can; it cannot"):
        check_device(FP8_MATMUL, meta, torch.float32)
    for choice in set(PRECISIONS) - {FP8_MATMUL}:
        check_device(choice, meta, torch.float32)
