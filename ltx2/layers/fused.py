"""The steps of layers.operations as one kernel each, for GPUs: small kernels of Triton's behind operators of torch.

Operators, for then torch's meta device and compiler know their shapes. They compute in fp32 and round once, where the
plain steps round after each: equal to 1e-5 in fp32, and closer to the truth in bf16.

Shapes: B batch, T tokens, D width of a stream, U unique noise levels, H heads, C features of a head, I = H C.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import LTX2Error
from .modulation import Levels
from .operations import PLAIN, Incoming, Operations, Place, Rows, Turned

# Under a name that no other copy of the pack in this process has.
_NAMESPACE = re.sub(r"\W", "_", __name__)


def check_fused(device: torch.device) -> None:
    """Raise LTX2Error where fused operations cannot run on `device`; says why."""
    reason = None
    if device.type != "cuda":
        reason = f"they run on GPUs that torch calls cuda; this is {device.type}"
    elif find_spec("triton") is None:
        reason = "triton must be installed (on Windows: pip install triton-windows)"
    else:
        reason = _why_none_starts(device)
    if reason:
        raise LTX2Error(
            f"operations cannot be fused: {reason}. Take the LTX-2 Fused Operations node out, or disable it"
        )


def _why_none_starts(device: torch.device) -> str | None:
    """Why the smallest kernel does not run on `device`: Triton compiles what starts it, and needs a C compiler."""
    try:
        FUSED.joined(torch.ones(1, 1, 1, 16, device=device), torch.ones(1, 1, 1, device=device))
    except Exception as error:  # noqa: BLE001 - Triton, its compilers and drivers raise whatever they like
        return f"its first kernel failed with {type(error).__name__}: {error}"
    return None


def use_operations(network: nn.Module, operations: Operations) -> None:
    """Let every layer of `network` take these steps between its products."""
    for module in network.modules():
        if hasattr(module, "operations"):
            module.operations = operations


class Fused:
    """The steps as one kernel each."""

    def rows(self, given: Tensor, table: Tensor) -> Rows:
        return Rows(given, table)

    def modulated(self, x: Tensor, rows: Rows, places: Sequence[Place], levels: Levels, eps: float) -> list[Tensor]:
        return _ops().modulate(x.contiguous(), None, [], None, _parts(rows, places), levels.index, eps)

    def added(self, x: Tensor, update: Tensor, rows: Rows, gate: int, levels: Levels) -> Tensor:
        gates = [rows.given[:, gate], rows.table[gate]]
        return _ops().modulate(x.contiguous(), update.contiguous(), gates, levels.index, [], None, None)[0]

    def added_modulated(
        self, x: Tensor, incoming: Incoming, rows: Rows, place: Place, levels: Levels, eps: float
    ) -> tuple[Tensor, Tensor]:
        if len(incoming.gate.given) > 1:  # one a clip, not one a level
            x = torch.addcmul(x, incoming.update, incoming.gate.sums)
            return x, self.modulated(x, rows, [place], levels, eps)[0]
        gates = [incoming.gate.given[:, 0], incoming.gate.table[0]]
        parts = _parts(rows, [place])
        added, hidden = _ops().modulate(
            x.contiguous(), incoming.update.contiguous(), gates, None, parts, levels.index, eps
        )
        return added, hidden

    def shifted(self, x: Tensor, rows: Rows, place: Place) -> Tensor:
        if len(rows.given) > 1:
            return PLAIN.shifted(x, PLAIN.rows(*rows), place)
        return _ops().modulate(x.contiguous(), None, [], None, _parts(rows, [place]), None, None)[0]

    def heads(self, several: list[Turned], num_heads: int) -> list[Tensor]:
        rotaries = [one.rotary for one in several if one.rotary is not None]
        # A host may change a norm's weight on its way.
        if len(rotaries) < len(several) or any(getattr(one.norm, "weight_function", None) for one in several):
            return PLAIN.heads(several, num_heads)
        weights = [one.norm.weight.to(one.x) for one in several]
        tables = [[rotary.cos for rotary in rotaries], [rotary.sin for rotary in rotaries]]
        found = [one.x.contiguous() for one in several]
        _ops().turn(found, weights, *tables, rotaries[0].interleaved, several[0].norm.eps)
        several.clear()
        return [x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in found]

    def joined(self, attended: Tensor, gate: Tensor | None) -> Tensor:
        return PLAIN.joined(attended, gate) if gate is None else _ops().join(attended, gate.contiguous())

    def activated(self, linear: nn.Linear, x: Tensor) -> Tensor:
        if not _is_product(linear) or not _product_ends_in_gelu(x.device):
            return PLAIN.activated(linear, x)
        own: Any = linear
        weight, bias = (own.weight, own.bias) if type(linear) is nn.Linear else own.weight_and_bias(x)
        found = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return found.view(*x.shape[:-1], -1)


FUSED: Operations = Fused()


@cache
def _ops() -> Any:
    """The operators, known to torch from the first use on; they live as long as the library that is kept here."""
    operators = getattr(torch.ops, _NAMESPACE)
    if not hasattr(operators, "modulate"):  # as it has them where this module is loaded again
        library = torch.library.Library(_NAMESPACE, "DEF")
        for schema, function in _OPERATORS.items():
            library.define(schema)
            library.impl(schema.partition("(")[0], function, "CompositeExplicitAutograd")
        _KEPT.append(library)
    return operators


def _parts(rows: Rows, places: Sequence[Place]) -> list[Tensor]:
    """(shift, scale, their tables) of each place."""
    return [part[..., n, :] for place in places for part in (rows.given, rows.table) for n in place]


def _is_product(linear: nn.Module) -> bool:
    """Whether a call is a product and nothing else: LoRAs may stand beside it, or it multiplies in fp8."""
    if linear.bias is None or linear._forward_hooks or linear._forward_pre_hooks:
        return False
    return getattr(linear, "is_product", type(linear) is nn.Linear)


@cache
def _product_ends_in_gelu(device: torch.device) -> bool:
    """Whether a product with an activation ends in tanh-GELU there. It does in cuBLASLt, which meta stands for."""
    if device.type == "meta":
        return True
    # A product with one is exact in every arithmetic; the GELU by the error function is 5e-4 off.
    x = torch.linspace(-3, 3, 4096, device=device).bfloat16().float().view(64, 64)
    found = torch._addmm_activation(x.new_zeros(64), x, torch.eye(64, device=device), use_gelu=True)
    return torch.allclose(found, F.gelu(x, approximate="tanh"), rtol=0, atol=1e-5)


def _modulate(
    x: Tensor,
    update: Tensor | None,
    gate: Sequence[Tensor],
    gate_index: Tensor | None,
    rows: Sequence[Tensor],
    index: Tensor | None,
    eps: float | None,
) -> list[Tensor]:
    """`eps`: of the norm; None for no norm."""
    outs = [torch.empty_like(x) for _ in range((update is not None) + len(rows) // 4)]
    if x.is_meta:
        return outs
    added, modulated = (outs[:1], outs[1:]) if update is not None else ([x], outs)
    # Triton takes tensors alone: what is left out is any.
    gates, stated, given_out = ([*some, *[x] * most][:most] for some, most in ((gate, 2), (rows, 8), (modulated, 2)))
    strides = [some[0].stride(0) if some else 0 for some in (gate, rows)]
    indexes = [x if each is None else each for each in (gate_index, index)]
    tokens = next((len(each) for each in (gate_index, index) if each is not None), 1)
    _launch(
        "modulate",
        x.numel() // x.shape[-1],
        x.shape[-1],
        (
            *(x, x if update is None else update, *gates, strides[0], indexes[0]),
            *(*stated, strides[1], indexes[1], tokens, *added, *given_out, x.shape[-1], eps or 0.0),
        ),
        ADDS=update is not None,
        GATE_INDEXED=gate_index is not None,
        INDEXED=index is not None,
        OUTS=len(modulated),
        NORMS=eps is not None,
    )
    return outs


def _turn(
    x: Sequence[Tensor],
    weights: Sequence[Tensor],
    cos: Sequence[Tensor],
    sin: Sequence[Tensor],
    interleaved: bool,
    eps: float,
) -> None:
    if x[0].is_meta:
        return
    counts = [one.numel() // one.shape[-1] for one in x]
    given = [
        (one, weight, c, s, one.shape[-2], len(c), *_strides(c, s))
        for one, weight, c, s in zip(x, weights, cos, sin, strict=True)
    ]
    query, key = given[0], given[-1]
    width, pairs = x[0].shape[-1], cos[0].shape[-1]
    arguments = (*query[:4], counts[0], *query[4:], *key, width, pairs, eps)
    _launch("turn", sum(counts), width // 2, arguments, INTERLEAVED=interleaved)


def _strides(cos: Tensor, sin: Tensor) -> tuple[int, ...]:
    assert cos.stride() == sin.stride()
    assert cos.stride(-1) == 1
    return cos.stride()[:3]


def _join(attended: Tensor, gate: Tensor) -> Tensor:
    batch, heads, tokens, features = attended.shape
    out = attended.new_empty(batch, tokens, heads * features)
    if out.is_meta:
        return out
    if attended.stride(-1) != 1:
        attended = attended.contiguous()
    arguments = (attended, gate, out, tokens, *attended.stride()[:3], heads, features)
    _launch("join", batch * tokens, heads * features, arguments)
    return out


_KEPT: list[torch.library.Library] = []
_OPERATORS: dict[str, Callable[..., object]] = {
    "modulate(Tensor x, Tensor? update, Tensor[] gate, Tensor? gate_index, Tensor[] rows, Tensor? index,"
    " float? eps) -> Tensor[]": _modulate,
    "turn(Tensor(a!)[] x, Tensor[] weights, Tensor[] cos, Tensor[] sin, bool interleaved, float eps) -> ()": _turn,
    "join(Tensor attended, Tensor gate) -> Tensor": _join,
}


def _launch(name: str, programs: int, width: int, arguments: tuple[Any, ...], **constants: object) -> None:
    """Run a kernel for so many tokens of `width` features."""
    from . import fused_kernels  # late: it needs triton

    kernel: Any = getattr(fused_kernels, name)
    block = 1 << (width - 1).bit_length()
    with torch.cuda.device_of(arguments[0]):
        kernel[(programs,)](*arguments, **constants, BLOCK=block, num_warps=8 if block >= 2048 else 4)
