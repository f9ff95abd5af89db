"""Linear layers that multiply in fp8: the weight as the file keeps it, the input rounded to fp8, the sum in fp32.

Shapes: N rows of the input, I in features, O out features.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from .cast import CastLinear, cast
from .formats import INPUT_SCALE, SCALE, Kept
from .packed import PackedLinear, keep_packed

_FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FP8).max
#: What both sides of a weight must be a multiple of.
_STEP = 16
_ROWS_AT_ONCE = 8192


class Fp8Linear(PackedLinear):
    """A layer with an fp8 weight and one scale: y = (x / s as fp8) weight^T * s * weight_scale + bias.

    s is the file's `input_scale`, which beyond its range cuts off, or, where it states none, what makes the largest
    number of each input the largest of fp8. The result has the dtype of the input.
    """

    is_expanded = False
    is_product = False

    def forward(self, input: Tensor) -> Tensor:
        if self.weight_function or self.bias_function:  # a host changes the weight on its way
            return super().forward(input)
        parts = self.parts(input.device)
        rows = input.reshape(-1, self.in_features)
        scale = parts.get(INPUT_SCALE)
        if scale is None:
            scale = (torch.linalg.vector_norm(rows, float("inf")).float() / _LARGEST).clamp(min=1e-12)
        scale = scale.float()
        rounded = _rounded(rows, scale)
        bias = None if self.bias is None else cast(self.bias, input)
        # Kernels add a bias of 16 bits only.
        is_added = bias is not None and bias.dtype != torch.float32
        output = torch._scaled_mm(
            rounded,
            self.weight.to(input.device).t(),
            scale_a=scale.view(()),
            scale_b=parts[SCALE].float().view(()),
            bias=bias if is_added else None,
            out_dtype=input.dtype,
            use_fast_accum=True,
        )
        if bias is not None and not is_added:
            output += bias
        return output.view(*input.shape[:-1], self.out_features)


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    """rows / scale in fp8, cut off at its ends: a part at a time, for the input of a wide layer is large."""
    rounded = torch.empty(rows.shape, dtype=_FP8, device=rows.device)
    for part, into in zip(rows.split(_ROWS_AT_ONCE), rounded.split(_ROWS_AT_ONCE), strict=True):
        into.copy_((part / scale).clamp_(-_LARGEST, _LARGEST))
    return rounded


def multiply_in_fp8(network: nn.Module) -> None:
    """Let the layers of `network` that can, multiply in fp8; those that cannot compute as before."""
    for module in network.modules():
        if type(module) is CastLinear and module.weight.dtype == _FP8:  # without a scale
            shape = (module.out_features, module.in_features)
            keep_packed(module, module.weight.data, {SCALE: torch.ones(())}, Kept("fp8_e4m3", shape))
        if type(module) is PackedLinear and why_not(module) is None:
            module.__class__ = Fp8Linear


def why_not(layer: PackedLinear) -> str | None:
    """Why a layer does not multiply in fp8; None where it can."""
    scale = layer._buffers.get(SCALE)
    if layer.kept.format != "fp8_e4m3" or scale is None:
        return f"kept in {layer.kept.format}"
    if layer.kept.computes_plainly:
        return "the file asks for full precision"
    if scale.numel() != 1:
        return "a scale for each row"
    if layer.in_features % _STEP or layer.out_features % _STEP:
        return f"sizes that are no multiple of {_STEP}"
    return None


@lru_cache(maxsize=8)
def why_not_on(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why a device cannot multiply in fp8 with results in `dtype`; None where it can. It is tried, once."""
    try:
        one = torch.ones((), device=device)
        eye = torch.eye(_STEP, device=device).to(_FP8)
        product = torch._scaled_mm(eye, eye.t(), scale_a=one, scale_b=one, out_dtype=dtype, use_fast_accum=True)
        exact = bool(torch.equal(product.float(), eye.float()))
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        return str(error).partition("\n")[0]
    return None if exact else "its products are wrong"
