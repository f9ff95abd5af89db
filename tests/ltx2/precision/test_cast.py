"""Weights cast at use: the same numbers as an upcast copy, and ComfyUI's protocol for weights it moves itself."""

import pytest
import torch
from torch import nn

from ltx2.precision.cast import cast_at_use

LAYERS = {
    "linear": (lambda: nn.Linear(8, 6), (2, 8)),
    "linear_without_bias": (lambda: nn.Linear(8, 6, bias=False), (2, 8)),
    "conv1d": (lambda: nn.Conv1d(8, 6, 3, padding=1, dilation=1), (2, 8, 10)),
    "conv2d": (lambda: nn.Conv2d(8, 6, 3, padding=1), (2, 8, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(8, 6, 3, padding_mode="reflect", padding=1), (1, 8, 4, 5, 5)),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(8, 6, 4, 2, padding=1), (2, 8, 10)),
    "group_norm": (lambda: nn.GroupNorm(4, 8), (2, 8, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_bf16_weights_give_the_numbers_of_their_upcast_copy(name):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    plain = make().bfloat16()
    weights = {key: value.clone() for key, value in plain.state_dict().items()}
    x = torch.randn(shape)
    expected = make()
    expected.load_state_dict({key: value.float() for key, value in weights.items()})
    casting = cast_at_use(nn.Sequential(plain))
    assert torch.equal(casting(x), expected(x))
    assert {value.dtype for value in casting.state_dict().values()} == {torch.bfloat16}


def test_comfyui_may_change_weights_at_use():
    layer = cast_at_use(nn.Sequential(nn.Linear(2, 2)))[0]
    x = torch.ones(1, 2)
    before = layer(x)
    layer.weight_function.append(lambda weight: weight * 0)
    layer.bias_function.append(lambda bias: bias + 1)
    assert torch.allclose(layer(x), layer.bias + 1)
    assert not torch.allclose(before, layer(x))
    assert layer.comfy_cast_weights is False


def test_layers_have_lists_of_their_own():
    first, second = cast_at_use(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    first.weight_function.append(lambda weight: weight)
    assert second.weight_function == []


class Scale(nn.Module):
    """A leaf with parameters of other names."""

    def __init__(self):
        super().__init__()
        self.amount = nn.Parameter(torch.full((3,), 2.0))

    def forward(self, x):
        return x * self.amount.to(x)


LEAVES = {
    "norm": (lambda: nn.LayerNorm(3), torch.randn(2, 3)),
    "embedding": (lambda: nn.Embedding(5, 3), torch.tensor([4, 0])),
    "scale": (Scale, torch.randn(2, 3)),
}


@pytest.mark.parametrize("name", LEAVES)
def test_other_leaves_take_part_and_keep_their_numbers(name):
    make, x = LEAVES[name]
    layer = make()
    expected, names = layer(x), list(layer.state_dict())
    casting = cast_at_use(nn.Sequential(layer))[0]
    assert torch.equal(casting(x), expected)
    assert (casting.comfy_cast_weights, casting.weight_function, casting.bias_function) == (False, [], [])
    assert hasattr(casting, "weight")
    assert hasattr(casting, "bias")
    assert list(casting.state_dict()) == names
    assert isinstance(casting, type(make()))


@pytest.mark.parametrize("name", ["norm", "embedding"])
def test_parameters_of_other_leaves_go_where_the_input_is(name):
    """The meta device plays the part of a GPU: mixing it with another is an error."""
    make, x = LEAVES[name]
    casting = cast_at_use(nn.Sequential(make()))[0]
    assert casting(x.to("meta")).is_meta
    assert {tensor.device.type for tensor in casting.parameters()} == {"cpu"}


def test_functions_change_the_weight_of_other_leaves_at_use_only():
    layer = cast_at_use(nn.Sequential(nn.LayerNorm(3)))[0]
    x = torch.randn(2, 3)
    before = layer(x)
    layer.weight_function.append(lambda weight: weight * 0)
    layer.bias_function.append(lambda bias: bias + 1)
    assert torch.equal(layer(x), torch.ones(2, 3))
    layer.weight_function, layer.bias_function = [], []
    assert torch.equal(layer(x), before)


def test_what_is_swapped_is_not_swapped_again():
    network = cast_at_use(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    kinds = [type(layer) for layer in network]
    network[0].weight_function.append(torch.neg)
    assert [type(layer) for layer in cast_at_use(network)] == kinds
    assert network[0].weight_function == [torch.neg]
