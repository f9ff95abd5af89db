"""Weights stay in the dtype and place of their file and are cast where they are used, to the dtype of the input.

So bf16 files stay memory-mapped while a CPU computes in fp32. The swapped layers speak ComfyUI's protocol for weights
that it moves by itself: `comfy_cast_weights`, and functions applied to a weight or bias at each use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

_Functions = Iterable[Callable[[Tensor], Tensor]]


def cast(weight: Tensor, like: Tensor, functions: _Functions = ()) -> Tensor:
    """`weight` in the dtype and on the device of `like`, after `functions`; no copy where nothing changes."""
    weight = weight.to(device=like.device, dtype=like.dtype)
    for function in functions:
        weight = function(weight)
    return weight


class _CastAtUse:
    """What the swapped layers share."""

    comfy_cast_weights = False
    weight_function: list[Callable[[Tensor], Tensor]]
    bias_function: list[Callable[[Tensor], Tensor]]
    weight: Tensor
    bias: Tensor | None

    def weight_and_bias(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        bias = None if self.bias is None else cast(self.bias, x, self.bias_function)
        return cast(self.weight, x, self.weight_function), bias


class CastLinear(_CastAtUse, nn.Linear):
    #: Whether a call is the product with `weight_and_bias` and nothing else, so that it may be made in another way.
    is_product: ClassVar[bool] = True

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, *self.weight_and_bias(input))


class CastConv1d(_CastAtUse, nn.Conv1d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, *self.weight_and_bias(input))


class CastConv2d(_CastAtUse, nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, *self.weight_and_bias(input))


class CastConv3d(_CastAtUse, nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, *self.weight_and_bias(input))


class CastConvTranspose1d(_CastAtUse, nn.ConvTranspose1d):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None
        weight, bias = self.weight_and_bias(input)
        return F.conv_transpose1d(
            input, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class CastGroupNorm(_CastAtUse, nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, *self.weight_and_bias(input), self.eps)


class _MovedAtUse(_CastAtUse, nn.Module):
    """Any other leaf: its own forward, with its parameters where the input is. Their dtype is its own affair."""

    def forward(self, input: Tensor, *rest: Any) -> Tensor:
        parameters: dict[str, Any] = self._parameters
        there = dict(parameters)
        functions = {"weight": self.weight_function, "bias": self.bias_function}
        try:
            for name, tensor in there.items():
                if tensor is not None:
                    parameters[name] = _moved(tensor, input, functions.get(name, ()))
            return super().forward(input, *rest)
        finally:
            parameters.update(there)


def _moved(tensor: Tensor, like: Tensor, functions: _Functions) -> Tensor:
    tensor = tensor.to(like.device)
    for function in functions:
        tensor = function(tensor)
    return tensor


_SWAPS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: CastLinear,
    nn.Conv1d: CastConv1d,
    nn.Conv2d: CastConv2d,
    nn.Conv3d: CastConv3d,
    nn.ConvTranspose1d: CastConvTranspose1d,
    nn.GroupNorm: CastGroupNorm,
}


def cast_at_use(network: nn.Module) -> nn.Module:
    """Swap every leaf layer of `network` for its casting twin, in place; the weights themselves stay as they are.

    Norms, embeddings and what else has parameters of its own and nothing below it keep their forward.
    """
    for module in network.modules():
        if _is_leaf(module):
            # The twins add behaviour and no state but two lists: changing the class keeps weights where they are.
            module.__class__ = _twin(type(module))
            module.weight_function = []
            module.bias_function = []
            for name in {"weight", "bias"} - module._parameters.keys():  # ComfyUI asks each twin for both
                module.register_parameter(name, None)
    return network


def casts(module: nn.Module) -> bool:
    """Whether the weights of a swapped layer become the dtype of its input; those of other layers stay as they are."""
    return type(module) in _SWAPS.values()


def _is_leaf(module: nn.Module) -> bool:
    has_parameters = any(parameter is not None for parameter in module._parameters.values())
    return has_parameters and not module._modules and not isinstance(module, _CastAtUse)


@cache
def _twin(kind: type[nn.Module]) -> type[nn.Module]:
    return _SWAPS.get(kind) or type(f"Moved{kind.__name__}", (_MovedAtUse, kind), {})
