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
