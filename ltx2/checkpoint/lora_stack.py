"""Several LoRAs on one network: merged into it as it is built, put beside its layers, or changed on it later.

The base file stays untouched and mapped; only the weights into which a LoRA is merged get memory of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from torch import Tensor, nn

from ..errors import ModelFileError
from ..precision.cast import CastLinear
from ..precision.low_rank import put_beside, set_scales
from .keys import NameTable
from .load import Check, Transform, assign, no_check
from .lora import Lora, Pair
from .lora_use import LoraUse
from .weights import TensorSource

#: The change of one weight by one LoRA: (which file, scale).
Step = tuple[Hashable, float]

#: A low-rank change of one weight: (down (r, in), up (out, r), scale); the halves are the file's memory.
Change = tuple[Tensor, Tensor, float]


@dataclass(frozen=True, eq=False)
class StackedLora:
    """One LoRA of a stack.

    Attributes:
        identity: what tells its file from every other, and from its own later versions.
        pairs: its changes of this network, by our parameter name.
    """

    identity: Hashable
    lora: Lora
    pairs: Mapping[str, Pair]
    use: LoraUse

    def scale(self, name: str, shape: tuple[int, ...]) -> float:
        """What its change of a weight of this `shape` is multiplied by; 0 where it changes nothing of it."""
        pair = self.pairs.get(name)
        return self.use.scale(name) if pair is not None and self.lora.fits(pair, shape) else 0.0


@dataclass(frozen=True, eq=False)
class LoraStack:
    """The LoRAs of one network, in the order they were stacked.

    Attributes:
        packed: The weights that nothing can be merged into: whatever the mode, changes of them are computed beside.
        then: What is done to each plain weight when its changes are merged.
    """

    loras: tuple[StackedLora, ...] = ()
    packed: frozenset[str] = frozenset()
    then: Transform = lambda _, weight: weight

    @cached_property
    def names(self) -> frozenset[str]:
        """The parameters that any of them may change."""
        return frozenset(name for stacked in self.loras for name in stacked.pairs)

    def steps(self, name: str, shape: tuple[int, ...], mode: str) -> tuple[Step, ...]:
        """What happens to one weight in this mode, in order."""
        return tuple((stacked.identity, scale) for stacked, scale in self._changes(name, shape, mode))

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        """`weight` with every change that is merged into it: the transform of `load.build`."""
        changes = self._changes(name, tuple(weight.shape), "merge")
        if not changes:
            return self.then(name, weight)
        if not weight.is_floating_point() or weight.element_size() < 2:
            raise ModelFileError(
                f"LoRAs merge into bf16, fp16 and fp32 weights; {name} is {weight.dtype}: use the bf16 checkpoint, or "
                "the LoRA's runtime mode"
            )
        deltas = [stacked.lora.delta(stacked.pairs[name], scale, weight) for stacked, scale in changes]
        return self.then(name, weight + sum(deltas[1:], deltas[0]))

    def leaving(self, prefix: str) -> Transform:
        """The transform that leaves weights whose names begin with `prefix` as they are in the file.

        Whoever uses them does the rest: `finish`, or adds what `merging` says on the way, and then calls `then`.
        """
        return lambda name, weight: weight if name.startswith(prefix) else self(name, weight)

    def finish(self, network: nn.Module, prefix: str, check: Check = no_check) -> None:
        """Do to a built network what `leaving` has left. `check` is called between two weights."""
        left = [(name, weight) for name, weight in network.named_parameters() if name.startswith(prefix)]
        for number, (name, weight) in enumerate(left):
            check(number, len(left))
            finished = self(name, weight)
            if finished is not weight:
                assign(network, name, finished)

    def open(self) -> None:
        """Map the files of all its LoRAs, as the first look at a change does."""
        for stacked in self.loras:
            for pair in islice(stacked.pairs.values(), 1):
                stacked.lora.checkpoint.read(pair.down)

    def merging(self, name: str, shape: tuple[int, ...]) -> list[Change]:
        """Every change that is to be merged into a weight."""
        return [
            stacked.lora.halves(stacked.pairs[name], scale) for stacked, scale in self._changes(name, shape, "merge")
        ]

    def beside(self, name: str, shape: tuple[int, ...]) -> list[Change]:
        """Every change that is computed beside a weight."""
        return [
            stacked.lora.halves(stacked.pairs[name], scale) for stacked, scale in self._changes(name, shape, "runtime")
        ]

    def scales_beside(self, name: str, shape: tuple[int, ...]) -> list[float]:
        """Their scales alone; the halves are not read."""
        changes = self._changes(name, shape, "runtime")
        return [stacked.lora.scaled(stacked.pairs[name], scale) for stacked, scale in changes]

    def _changes(self, name: str, shape: tuple[int, ...], mode: str) -> list[tuple[StackedLora, float]]:
        modes = [("runtime" if name in self.packed else stacked.use.mode) for stacked in self.loras]
        scaled = [(each, each.scale(name, shape)) for each, its in zip(self.loras, modes, strict=True) if its == mode]
        return [(stacked, scale) for stacked, scale in scaled if scale]


@dataclass(frozen=True, eq=False)
class Restack:
    """The way from one stack to another on a network that is built: only what differs is touched.

    Attributes:
        table, source: where its weights come from; opened only where some must be read.
        part: the part of the network that the stacks are on.
    """

    old: LoraStack
    new: LoraStack
    table: NameTable
    source: Callable[[], TensorSource]
    part: Callable[[nn.Module], nn.Module] = lambda network: network

    def moves_weights(self, network: nn.Module) -> bool:
        """Whether tensors of the network are replaced; else only scales change, wherever its weights lie now."""
        differing = self._differing(network)
        return bool(differing.merged or differing.beside)

    def __call__(self, network: nn.Module, check: Check = no_check) -> None:
        """Change the network, whose weights must be in the places where they were built.

        Weights that differ are read anew from the base file and merged anew, so the result is that of a fresh build; a
        weight that no LoRA changes any more is the file's own memory again. `check` is called between two weights.

        Raises:
            ModelFileError: a LoRA cannot be put on it; the network is then half changed and of no use.
        """
        part, differing = self.part(network), self._differing(network)
        if differing.merged:
            source = self.source()
            keys, _ = self.table.select(source.shapes())
            for number, name in enumerate(differing.merged):
                check(number, len(differing.merged))
                assign(part, name, self.new(name, source.read(keys[name])))
        put_beside_layers(part, self.new, differing.beside)
        for name in differing.scales:
            set_scales(_layer(part, name), self.new.scales_beside(name, _shape(part, name)))

    def _differing(self, network: nn.Module) -> _Differing:
        part = self.part(network)
        differing = _Differing([], [], [])
        for name in _present(part, self.old.names | self.new.names):
            shape = _shape(part, name)
            if self.old.steps(name, shape, "merge") != self.new.steps(name, shape, "merge"):
                differing.merged.append(name)
            old, new = (stack.steps(name, shape, "runtime") for stack in (self.old, self.new))
            if old != new:
                same_halves = [identity for identity, _ in old] == [identity for identity, _ in new]
                (differing.scales if same_halves else differing.beside).append(name)
        return differing


@dataclass(frozen=True)
class _Differing:
    """Names of weights by what must be done: merge anew, put other halves beside, or only change scales."""

    merged: list[str]
    beside: list[str]
    scales: list[str]


def put_beside_layers(network: nn.Module, stack: LoraStack, names: Iterable[str] | None = None) -> None:
    """Put what `stack` does not merge beside the layers of a network that casts at use: beside all, or those named.

    Raises:
        ModelFileError: a weight is not that of a linear layer.
    """
    for name in _present(network, stack.names) if names is None else names:
        changes = stack.beside(name, _shape(network, name))
        if changes or names is not None:
            put_beside(_layer(network, name), changes)


def _present(network: nn.Module, names: Iterable[str]) -> list[str]:
    return sorted(set(names) & {name for name, _ in network.named_parameters()})


def _shape(network: nn.Module, name: str) -> tuple[int, ...]:
    path, _, leaf = name.rpartition(".")
    layer = network.get_submodule(path)
    if leaf == "weight" and isinstance(layer, nn.Linear):  # however it is packed
        return layer.out_features, layer.in_features
    return tuple(network.get_parameter(name).shape)


def _layer(network: nn.Module, name: str) -> nn.Module:
    path, _, leaf = name.rpartition(".")
    layer = network.get_submodule(path)
    if leaf != "weight" or not isinstance(layer, CastLinear):
        raise ModelFileError(f"a LoRA in runtime mode acts beside linear layers; {name} is none: use the merge mode")
    return layer
