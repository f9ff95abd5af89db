"""Networks from checkpoints: built on the meta device, audited by name and shape, filled without a second copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..precision.cast import CastLinear, cast_at_use, casts
from ..precision.formats import expand
from ..precision.packed import FLOAT8, keep_packed
from .keys import NameTable
from .reader import DTYPE_NAMES
from .weights import Shapes, TensorSource, Weight, find_weights

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class InMemory:
    """Tensors at hand as a source."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        name: str = "tensors in memory",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.metadata = metadata or {}
        self._tensors = tensors

    def shapes(self) -> Shapes:
        return {key: tuple(tensor.shape) for key, tensor in self._tensors.items()}

    def stored_as(self, key: str) -> str:
        return DTYPE_NAMES[self._tensors[key].dtype]

    def read(self, key: str) -> Tensor:
        return self._tensors[key]


#: Called with (units done, units in all) before each weight; raises where the user has cancelled.
Check = Callable[[int, int], None]

#: (our parameter name, tensor from the file) -> the tensor to use; LoRAs merge here, weight by weight.
Transform = Callable[[str, Tensor], Tensor]


class _Uninitialised(TorchFunctionMode):
    """Layers give their weights no random values, which costs more than to make them: files hold their values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == torch.nn.init.__name__ and "tensor" in given:
            return given["tensor"]
        return func(*args, **given)


def on_meta(factory: Callable[[], ModuleT]) -> ModuleT:
    """The network that `factory` makes, without memory for its weights."""
    with torch.device("meta"), _Uninitialised():
        return factory().eval().requires_grad_(False)


def no_check(_done: int, _total: int) -> None:
    """For whoever cannot be cancelled."""


def audit(network: nn.Module, table: NameTable, source: TensorSource) -> dict[str, str]:
    """{our name: file key} of every parameter and buffer of `network` (on meta), which all must be in `source`.

    Raises:
        ModelFileError: names or shapes differ, in either direction, or the scales of packed weights are missing.
    """
    return {name: weight.key for name, weight in _find(network, table, source).items()}


def build(
    factory: Callable[[], ModuleT],
    table: NameTable,
    source: TensorSource,
    transform: Transform | None = None,
    check: Check = no_check,
) -> ModuleT:
    """The network that `factory` makes, filled from `source`: mapped weights as the file keeps them, cast at use.

    `transform` is given plain weights only. Packed weights and fp8 of what is no layer that casts at use (tables,
    norms, embeddings: a hundredth of a network) become bf16 here, and memory of their own.
    """
    network = on_meta(factory)
    weights = _find(network, table, source)
    sizes = {name: tensor.numel() for name, tensor in network.state_dict().items()}
    done, total = 0, sum(sizes.values())
    cast_at_use(network)
    owners = dict(network.named_modules())
    for name, weight in weights.items():
        check(done, total)
        _fill(owners[name.rpartition(".")[0]], name, weight, source, transform)
        done += sizes[name]
    return network


def _find(network: nn.Module, table: NameTable, source: TensorSource) -> dict[str, Weight]:
    return find_weights({name: tuple(each.shape) for name, each in network.state_dict().items()}, table, source)


def _fill(owner: nn.Module, name: str, weight: Weight, source: TensorSource, transform: Transform | None) -> None:
    tensor = source.read(weight.key)
    if weight.kept is None:
        tensor = transform(name, tensor) if transform else tensor
        if tensor.dtype in FLOAT8 and not casts(owner):
            tensor = tensor.to(torch.bfloat16)
        _put(owner, name, tensor)
        return
    parts = {part: source.read(key) for part, key in weight.parts.items()}
    if type(owner) is CastLinear:
        keep_packed(owner, tensor, parts, weight.kept)
    else:
        _put(owner, name, expand(tensor, parts, weight.kept, torch.bfloat16))


def assign(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Put `tensor` in the place of the parameter or buffer `name`, without copying it."""
    _put(network.get_submodule(name.rpartition(".")[0]), name, tensor)


def _put(owner: nn.Module, name: str, tensor: Tensor) -> None:
    leaf = name.rpartition(".")[2]
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor
