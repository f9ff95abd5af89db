"""Low-rank changes beside linear layers: the numbers of merged weights, and nothing left behind."""

import pytest
import torch
from torch import nn

from ltx2.precision.cast import CastLinear, cast_at_use
from ltx2.precision.low_rank import bytes_beside, put_beside, set_scales

CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return cast_at_use(nn.Sequential(nn.Linear(8, 6)))[0]


def change(rank, scale, dtype=torch.float32):
    return torch.randn(rank, 8).to(dtype), torch.randn(6, rank).to(dtype), scale


@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 8)])
def test_changes_beside_a_layer_are_those_merged_into_it(layer, shape):
    changes = [change(2, 0.5), change(3, -1.25)]
    merged = nn.Linear(8, 6)
    weight = layer.weight + sum(scale * (up @ down) for down, up, scale in changes)
    merged.load_state_dict({"weight": weight, "bias": layer.bias})
    x = torch.randn(shape)
    put_beside(layer, changes)
    torch.testing.assert_close(layer(x), merged(x), **CLOSE)


def test_a_layer_without_bias(layer):
    down, up, scale = change(2, 0.5)
    bare = cast_at_use(nn.Sequential(nn.Linear(8, 6, bias=False)))[0]
    x = torch.randn(3, 8)
    before = bare(x)
    put_beside(bare, [(down, up, scale)])
    torch.testing.assert_close(bare(x), before + scale * x @ down.T @ up.T, **CLOSE)


def test_halves_are_cast_where_they_are_used_and_stay_the_file_s_memory(layer):
    down, up, scale = change(2, 0.5, torch.bfloat16)
    put_beside(layer, [(down, up, scale)])
    x = torch.randn(3, 8)
    expected = nn.functional.linear(x, layer.weight, layer.bias) + scale * x @ down.float().T @ up.float().T
    torch.testing.assert_close(layer(x), expected, **CLOSE)
    assert {buffer.data_ptr() for buffer in layer.buffers()} == {down.data_ptr(), up.data_ptr()}
    assert bytes_beside(nn.Sequential(layer)) == 2 * 2 * (8 + 6)


def test_names_and_the_protocol_of_casting_layers_stay(layer):
    names, plain = set(layer.state_dict()), layer(torch.ones(1, 8))
    put_beside(layer, [change(2, 1.0)])
    assert set(layer.state_dict()) == names
    assert layer.comfy_cast_weights is False
    layer.weight_function.append(lambda weight: weight * 0)
    layer.bias_function.append(lambda bias: bias * 0)
    down, up, _ = change(2, 1.0)
    put_beside(layer, [(down, up, 1.0)])
    torch.testing.assert_close(layer(torch.ones(1, 8)), torch.ones(1, 8) @ down.T @ up.T, **CLOSE)
    assert not torch.equal(plain, layer(torch.ones(1, 8)))


def test_scales_change_without_the_halves(layer):
    first, second = change(2, 1.0), change(2, 1.0)
    put_beside(layer, [first, second])
    halves = list(layer.buffers())
    set_scales(layer, [0.0, 2.0])
    assert all(a is b for a, b in zip(layer.buffers(), halves, strict=True))
    x = torch.randn(3, 8)
    changed = layer(x)
    put_beside(layer, [(second[0], second[1], 2.0)])
    torch.testing.assert_close(layer(x), changed, **CLOSE)


def test_taking_changes_away_leaves_the_layer_as_it_was_built(layer):
    before, x = set(vars(layer)), torch.randn(3, 8)
    plain = layer(x)
    put_beside(layer, [change(2, 1.0), change(2, 1.0)])
    put_beside(layer, [])
    assert type(layer) is CastLinear
    assert set(vars(layer)) == before
    assert not list(layer.buffers())
    assert torch.equal(layer(x), plain)


def test_changes_move_with_the_layer(layer):
    put_beside(layer, [change(2, 1.0)])
    layer.to("meta")
    assert {buffer.device.type for buffer in layer.buffers()} == {"meta"}
