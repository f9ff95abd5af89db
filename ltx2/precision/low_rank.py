"""Low-rank changes beside linear layers: added to what the layer gives, at every use, and never to its weights.

Shapes: r rank; down (r, in features), up (out features, r).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .cast import CastLinear, cast
from .matmul import Fp8Linear
from .packed import PackedLinear


class LowRankLinear(CastLinear):
    """A linear layer with changes beside it: W x + b + sum over them of scale * up (down x).

    Their halves are buffers, so that they move with the layer, but none that `state_dict` lists: a network's tensors
    have the same names with LoRAs as without.
    """

    is_product = False
    scales: tuple[float, ...]

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        rows = output.view(-1, output.shape[-1])
        for number, scale in enumerate(self.scales):
            down, up = (cast(getattr(self, name), input) for name in _names(number))
            # Into the output: a wide layer's is a large part of what a step holds.
            rows.addmm_(F.linear(input, down).view(-1, down.shape[0]), up.t(), alpha=scale)
        return output


class LowRankPackedLinear(LowRankLinear, PackedLinear):
    """The same beside a packed weight."""


class LowRankFp8Linear(LowRankLinear, Fp8Linear):
    """The same beside a weight that is multiplied in fp8."""


#: What a linear layer becomes that gets changes beside it.
_WITH_CHANGES: dict[type[CastLinear], type[LowRankLinear]] = {
    CastLinear: LowRankLinear,
    PackedLinear: LowRankPackedLinear,
    Fp8Linear: LowRankFp8Linear,
}
_WITHOUT = {changed: plain for plain, changed in _WITH_CHANGES.items()}


def put_beside(linear: nn.Module, changes: Sequence[tuple[Tensor, Tensor, float]]) -> None:
    """Let `linear` have exactly these (down, up, scale) beside it, in this order; none makes it as it was built.

    The halves keep their memory, dtype and device, and are cast where they are used.
    """
    assert isinstance(linear, CastLinear), "changes are put beside linear layers that cast at use"
    _take_away(linear)
    if not changes:
        return
    for number, (down, up, _) in enumerate(changes):
        for name, half in zip(_names(number), (down, up), strict=True):
            linear.register_buffer(name, half, persistent=False)
    linear.__class__ = _WITH_CHANGES[type(linear)]
    set_scales(linear, [scale for _, _, scale in changes])


def set_scales(linear: nn.Module, scales: Sequence[float]) -> None:
    """New scales for the changes beside `linear`, in their order."""
    assert isinstance(linear, LowRankLinear), "only changes that are there have scales"
    linear.scales = tuple(scales)


def bytes_beside(network: nn.Module) -> int:
    """Bytes of all changes beside the layers of `network`, which its `state_dict` does not count."""
    layers = [module for module in network.modules() if isinstance(module, LowRankLinear)]
    halves = [
        getattr(layer, name) for layer in layers for number in range(len(layer.scales)) for name in _names(number)
    ]
    return sum(half.nbytes for half in halves)


def _take_away(linear: nn.Module) -> None:
    if not isinstance(linear, LowRankLinear):
        return
    for number in range(len(linear.scales)):
        for name in _names(number):
            delattr(linear, name)
    del linear.scales
    linear.__class__ = _WITHOUT[type(linear)]  # type: ignore[assignment] - the class that it was before


def _names(number: int) -> tuple[str, str]:
    return f"low_rank_down_{number}", f"low_rank_up_{number}"
