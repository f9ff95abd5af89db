"""Linear layers whose weight stays as its file keeps it, mapped, and becomes numbers only where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from .cast import CastLinear, cast
from .formats import FORMATS, Kept, expand

#: Kept as plain numbers of one byte, which need no scale.
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


class PackedLinear(CastLinear):
    """A linear layer with a packed weight.

    The scales are buffers that `state_dict` lists, so that they move and count with the layer.
    """

    kept: Kept
    is_expanded: ClassVar[bool] = True

    def weight_and_bias(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = expand(self.weight.to(x.device), self.parts(x.device), self.kept, x.dtype)
        for function in self.weight_function:
            weight = function(weight)
        return weight, None if self.bias is None else cast(self.bias, x, self.bias_function)

    def parts(self, device: torch.device) -> Mapping[str, Tensor]:
        """What stands beside the weight, on `device`."""
        format = FORMATS[self.kept.format]
        names = (*format.scales(self.kept), *format.may_have)
        return {name: self._buffers[name].to(device) for name in names if self._buffers.get(name) is not None}  # type: ignore[union-attr]


def keep_packed(linear: nn.Module, packed: Tensor, parts: Mapping[str, Tensor], kept: Kept) -> None:
    """Let `linear`, which casts at use, compute with a packed weight, whose memory it shares."""
    assert type(linear) is CastLinear, "packed weights are those of linear layers that cast at use"
    linear.weight = nn.Parameter(packed, requires_grad=False)
    for name, part in parts.items():
        linear.register_buffer(name, part)
    linear.kept = kept  # type: ignore[assignment] - declared by the class that it gets
    linear.__class__ = PackedLinear


def expanded_bytes(network: nn.Module) -> int:
    """Bytes that the largest packed weight of `network` takes for a moment: itself in 16 bits, and as much to make it.

    No count of a network's weights has them.
    """
    layers = (module for module in network.modules() if isinstance(module, PackedLinear) and module.is_expanded)
    return max((4 * layer.out_features * layer.in_features for layer in layers), default=0)
