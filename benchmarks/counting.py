"""What a call costs without running it: operations, traffic and live bytes on the meta device."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

# A kernel that the meta device lacks: it writes an RMS norm out as seven operations.
_LIBRARY = torch.library.Library("ltx2_counting", "DEF")
_LIBRARY.define("rms_norm(Tensor x, Tensor? weight) -> Tensor")
_LIBRARY.impl("rms_norm", lambda x, weight: torch.empty_like(x), "Meta")

_PRODUCTS = frozenset(("mm", "addmm", "_addmm_activation", "bmm", "baddbmm", "convolution", "_scaled_mm"))
_LAUNCHES_NOTHING = frozenset(
    ("_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach")
)


class FusedKernels(TorchFunctionMode):
    """Attention and RMS norm as one kernel each, as on GPUs; the meta device would write every step of them out."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func is torch.nn.functional.rms_norm:
            return torch.ops.ltx2_counting.rms_norm(args[0], kwargs.get("weight", args[2] if len(args) > 2 else None))
        return func(*args, **kwargs)


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: object) -> Tensor:
    if attn_mask is None:
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    # Kernels read a mask as a bias, row by row: this one stands for it and takes nothing.
    bias = query.new_empty(()).expand(*query.shape[:3], key.shape[2])
    return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, bias, False)[0]


class LiveBytes(TorchDispatchMode):
    """The most bytes of results that are alive at once. Weights and inputs are not results; `held` ones count."""

    def __init__(self, held: tuple[Tensor, ...] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: dict[int, weakref.finalize] = {}
        for tensor in held:
            self._count(tensor)

    def known(self, *tensors: Tensor) -> None:
        """Leave out what a call is given."""
        for tensor in tensors:
            self._seen.setdefault(tensor.untyped_storage()._cdata, weakref.finalize(tensor.untyped_storage(), int))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            size = storage.nbytes()
            self.live += size
            self.peak = max(self.peak, self.live)
            self._seen[storage._cdata] = weakref.finalize(storage, self._free, storage._cdata, size)

    def _free(self, address: int, size: int) -> None:
        self._seen.pop(address, None)
        self.live -= size


class Traffic(TorchDispatchMode):
    """Operations but views, and the bytes that those read and write which are no matrix product or attention."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.elementwise_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if not func.is_view and name not in _LAUNCHES_NOTHING:
            self.operations += 1
            if not _is_product(name):
                written = _written(func, args) if result is None else result
                tensors = [leaf for leaf in tree_leaves((args, kwargs, written)) if isinstance(leaf, Tensor)]
                self.elementwise_bytes += sum(map(_touched, tensors))
        return result


def _written(func: OpOverload, args: tuple[object, ...]) -> list[object]:
    """What an operation that gives nothing back writes in place."""
    known = zip(args, func._schema.arguments, strict=False)
    return [given for given, one in known if one.alias_info and one.alias_info.is_write]


def _is_product(name: str) -> bool:
    return name in _PRODUCTS or "attention" in name


def _touched(tensor: Tensor) -> int:
    """What is read or written of a tensor: an expanded one is as large as what it expands."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


@torch.no_grad()
def flops(call: Callable[[], object]) -> int:
    """Operations of the matrix products in `call`, two per multiplication."""
    with FlopCounterMode(display=False) as counter, FusedKernels():
        call()
    return counter.get_total_flops()


@torch.no_grad()
def traffic(call: Callable[[], object]) -> Traffic:
    """Operations and elementwise bytes of `call`, as a GPU runs it; kernels of our own count as they are."""
    with FusedKernels(), Traffic() as counter:
        call()
    return counter


@torch.no_grad()
def peak_bytes(call: Callable[[], object], *, given: tuple[Tensor, ...], held: tuple[Tensor, ...] = ()) -> int:
    """The most bytes that `call` has alive at once, `held` ones included, `given` ones not."""
    tracker = LiveBytes(held)
    tracker.known(*given)
    with tracker, FusedKernels():
        call()
    return tracker.peak


def machine() -> str:
    """One line about where the numbers come from."""
    return f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads"
