"""Networks from checkpoints: built on the meta device, audited by name and shape, filled without a second copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..errors import ModelFileError
from ..precision.cast import cast_at_use
from .keys import NameTable

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Shapes = Mapping[str, tuple[int, ...]]
_LISTED = 6
#: What stands beside quantised weights in files.
QUANTISED = (".comfy_quant", ".weight_scale", ".weight_scale_2", ".scale_weight", ".input_scale")


class TensorSource(Protocol):
    """A checkpoint, or tensors in memory."""

    @property
    def name(self) -> str: ...

    def shapes(self) -> Shapes:
        """The shape of every tensor by its name in the file."""
        ...

    def read(self, key: str) -> Tensor: ...


class InMemory:
    """Tensors at hand as a source."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str = "tensors in memory") -> None:
        self.name = name
        self._tensors = tensors

    def shapes(self) -> Shapes:
        return {key: tuple(tensor.shape) for key, tensor in self._tensors.items()}

    def read(self, key: str) -> Tensor:
        return self._tensors[key]


#: Called with (units done, units in all) before each weight; raises where the user has cancelled.
Check = Callable[[int, int], None]

#: (our parameter name, tensor from the file) -> the tensor to use; LoRAs merge here, weight by weight.
Transform = Callable[[str, Tensor], Tensor]


def on_meta(factory: Callable[[], ModuleT]) -> ModuleT:
    """The network that `factory` makes, without memory for its weights."""
    with torch.device("meta"):
        return factory().eval().requires_grad_(False)


def no_check(_done: int, _total: int) -> None:
    """For whoever cannot be cancelled."""


def audit(network: nn.Module, table: NameTable, source: TensorSource) -> dict[str, str]:
    """{our name: file key} of every parameter and buffer of `network` (on meta), which all must be in `source`.

    Raises:
        ModelFileError: names or shapes differ, in either direction, or the weights are quantised.
    """
    shapes = source.shapes()
    found, strangers = table.select(shapes)
    if scales := [key for key in strangers if key.endswith(QUANTISED)]:
        raise ModelFileError(
            f"{source.name} must hold plain weights of its {table.component}; it holds quantised ones, whose scales "
            f"({scales[0]}, ...) are not read; choose the file without fp8, fp4 or int8 in its name"
        )
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problems = [
        *_listed("missing", [table.to_theirs(name) for name in expected if name not in found]),
        *_listed("not known", strangers + [found[name] for name in found if name not in expected]),
        *_listed(
            "of another shape",
            [
                f"{found[name]} {list(shapes[found[name]])}, not {list(shape)}"
                for name, shape in expected.items()
                if name in found and tuple(shapes[found[name]]) != shape
            ],
        ),
    ]
    if problems:
        raise ModelFileError(
            f"{source.name} does not fit as {table.component}:\n" + "\n".join(f"  - {problem}" for problem in problems)
        )
    return found


def build(
    factory: Callable[[], ModuleT],
    table: NameTable,
    source: TensorSource,
    transform: Transform | None = None,
    check: Check = no_check,
) -> ModuleT:
    """The network that `factory` makes, filled from `source`: mapped weights in the file's dtype, cast at use."""
    network = on_meta(factory)
    found = audit(network, table, source)
    sizes = {name: tensor.numel() for name, tensor in network.state_dict().items()}
    done, total = 0, sum(sizes.values())
    for name, key in found.items():
        check(done, total)
        tensor = source.read(key)
        assign(network, name, transform(name, tensor) if transform else tensor)
        done += sizes[name]
    return cast_at_use(network)


def assign(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Put `tensor` in the place of the parameter or buffer `name`, without copying it."""
    path, _, leaf = name.rpartition(".")
    owner = network.get_submodule(path)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    rest = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{len(names)} {what}: {', '.join(names[:_LISTED])}{rest}"]
