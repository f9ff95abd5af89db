"""A network whose blocks are streamed: put on a built one from outside, and taken off again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from ...checkpoint.lora_stack import LoraStack
from ...errors import LTX2Error
from ...placement import RAM, Placement
from .lanes import LANES, Lane
from .layout import BlockLayout
from .mapped import MappedFiles
from .reading import check_unchanged
from .sources import DiskSource, RamSource, Source
from .sweep import Sweep


@dataclass(frozen=True)
class Blocks:
    """Where a network keeps its blocks, and what runs through them in order.

    Attributes:
        path: of the list of blocks in the network.
        owner: path of the module whose methods use them.
        calls: those methods.
        others: further lists of the network, in which nothing runs while something runs in this one.
    """

    path: str
    owner: str
    calls: tuple[str, ...]
    others: tuple[Blocks, ...] = ()

    @property
    def lists(self) -> tuple[Blocks, ...]:
        """All lists of the network."""
        return (self, *self.others)


# In 2.3 they are as large as nine layers of Gemma, and have nothing to do before it is through.
_CONNECTORS = tuple(
    Blocks(f"connectors.{modality}.blocks", f"connectors.{modality}", ("forward",)) for modality in ("video", "audio")
)


#: By the kind of recipe. Other networks are small.
BLOCKS = {
    "transformer": Blocks("blocks", "", ("forward", "text")),
    "text encoder": Blocks("gemma.model.layers", "gemma", ("forward", "next_logits"), _CONNECTORS),
    "vision tower": Blocks("tower.encoder.layers", "tower.encoder", ("forward",)),
}


class StreamedNetwork:
    """All lists of blocks of `network`, each streamed; only one at a time has slots.

    Takes, raises and tells what `Streaming` does of each of them.

    Attributes:
        rest: All of the network but its blocks, for whoever moves that to the device: the same modules and tensors.
    """

    def __init__(
        self, network: nn.Module, blocks: Blocks, placement: Placement, device: torch.device, **options: Any
    ) -> None:
        self._lists: list[Streaming] = []
        self.rest = network
        try:
            for each in blocks.lists:
                self._lists.append(Streaming(network, each, placement, device, **options))
                self.rest = rest_of(self.rest, each.path)
        except BaseException:
            self.release()
            raise
        self.num_bytes = sum(each.num_bytes for each in self._lists)

    @property
    def slot_bytes(self) -> int:
        return max(each.slot_bytes for each in self._lists)

    @property
    def held_bytes(self) -> int:
        return sum(each.held_bytes for each in self._lists)

    def release(self) -> None:
        for each in self._lists:
            each.release()


class Streaming:
    """A list of blocks of `network` on `device`, a few at a time, whenever its calls run; between them none are there.

    The network gives the same results as before. `release` makes it what it was.

    Args:
        placement: streamed from RAM or from disk, with so many slots.
        name: of the network, for messages.
        check: called while a block is awaited; raises where the user has cancelled.
        on_bytes: called with (bytes read, bytes in all) while RAM is filled; likewise.
        stack: what is to be done to weights on their way; they are without it where they lie.

    Attributes:
        num_bytes: Of all blocks.

    Raises:
        ModelFileError: a file cannot be read, or what is to be merged does not fit.
        MemoryError: RAM does not hold the blocks; none of it is taken then.
        LTX2Error: there is no streaming to this kind of device.
    """

    def __init__(
        self,
        network: nn.Module,
        blocks: Blocks,
        placement: Placement,
        device: torch.device,
        *,
        name: str,
        check: Callable[[], None],
        on_bytes: Callable[[int, int], None],
        stack: LoraStack | None = None,
        lane: Lane | None = None,
    ) -> None:
        assert placement.is_streamed, "a mode that streams, not 'automatic'"
        if lane is None and device.type not in LANES:
            raise LTX2Error(
                f"blocks are streamed to {' and '.join(LANES)} devices; got {device}: choose the placement 'resident'"
            )
        self._lane = lane or LANES[device.type](device)
        self._name, self._check = name, check
        self._list = cast(nn.ModuleList, network.get_submodule(blocks.path))
        self._owner = network.get_submodule(blocks.owner)
        self._classes = type(self._list), type(self._owner)
        stack = stack or LoraStack()
        stack.open()  # before it is asked which files are mapped
        files = MappedFiles()
        self._layouts = [
            BlockLayout.of(block, f"{blocks.path}.{number}", files, stack) for number, block in enumerate(self._list)
        ]
        found = [piece.extent for layout in self._layouts for piece in layout.pieces if piece.extent]
        self._files = {extent.file: extent for extent in found}.values()
        self._count = min(placement.slots, len(self._layouts))
        self._source: Source = (
            RamSource(self._layouts, host_buffer=self._lane.host_buffer, check=on_bytes)
            if placement.mode == RAM
            else DiskSource(self._layouts)
        )
        self.num_bytes = sum(layout.kept_bytes for layout in self._layouts)
        self._is_open = False
        self._sweep: Sweep | None = None
        self._put_on(blocks.calls)

    @property
    def slot_bytes(self) -> int:
        """Bytes that it takes on the device while the network runs, with room to merge in."""
        weights = [finish.weight.home.nbytes for layout in self._layouts for finish in layout.finishes]
        room = 2 * max(weights, default=0) if self._source.reads else 0
        return self._count * self._source.slot_bytes + room

    @property
    def held_bytes(self) -> int:
        """Of RAM that is taken while the network does not run, until `release`."""
        return self._source.held_bytes

    def release(self) -> None:
        """Take the streaming off, and give back RAM and pins. May be called again."""
        assert not self._is_open, "not while it runs"
        if isinstance(self._list, _StreamedList):
            del self._list.streaming, self._owner.streaming
            self._list.__class__, self._owner.__class__ = self._classes  # type: ignore[assignment] - what it was
        self._source.release()

    @contextmanager
    def sweep(self) -> Iterator[None]:
        """Inside, blocks arrive when they are asked for; whatever happens, nothing of it is left behind."""
        if self._is_open:
            yield
            return
        if self._source.reads:
            # What is not streamed may lie in the map of a file, which must not be touched where that was cut off.
            for extent in self._files:
                check_unchanged(extent)
        self._is_open = True
        try:
            self._sweep = self._new_sweep()
            yield
        except BaseException:
            self._close()  # first, for what runs until then may take what is let go
            self._source.let_go()
            raise
        finally:
            self._is_open = False
            self._close()

    def ready(self, number: int) -> nn.Module:
        """Block `number`, on the device within a sweep."""
        while self._sweep is not None and not self._sweep.ready(number):
            self._close()
            self._sweep = self._new_sweep()
        return cast(nn.Module, self._list._modules[str(number)])

    def _new_sweep(self) -> Sweep:
        return Sweep(self._layouts, self._source, self._lane, self._count, self._name, self._check)

    def _close(self) -> None:
        if self._sweep is not None:
            sweep, self._sweep = self._sweep, None
            sweep.close()

    def _put_on(self, calls: tuple[str, ...]) -> None:
        # The classes change, and not the modules: whoever looks for blocks among the children finds them.
        self._list.__class__ = _StreamedList
        self._owner.__class__ = _within_sweeps(type(self._owner), calls)
        # Not on the classes, which live until garbage is collected: the network is to go with its last user.
        self._list.streaming = self._owner.streaming = self  # type: ignore[assignment] - no module


class _StreamedList(nn.ModuleList):
    """Blocks that arrive when they are asked for, one after the other."""

    streaming: Streaming

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._in_turn(range(len(self))[key])
        return self.streaming.ready(range(len(self))[key])

    def __iter__(self) -> Iterator[nn.Module]:
        return self._in_turn(range(len(self)))

    def _in_turn(self, numbers: Sequence[int]) -> Iterator[nn.Module]:
        return (self.streaming.ready(number) for number in numbers)


@functools.cache
def _within_sweeps(kind: type[nn.Module], calls: tuple[str, ...]) -> type[nn.Module]:
    """`kind` with methods that run within a sweep of `self.streaming`."""
    return type(kind.__name__, (kind,), {name: _within_sweep(getattr(kind, name)) for name in calls})


def _within_sweep(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        with self.streaming.sweep():
            return method(self, *args, **options)

    return call


def rest_of(network: nn.Module, path: str) -> nn.Module:
    """All of `network` but the module at `path`, under the same names: the same modules, tensors in the same places."""
    name, _, further = path.partition(".")
    rest = type(type(network).__name__, (nn.Module,), {})()
    rest.training = network.training
    rest._parameters, rest._buffers = network._parameters, network._buffers
    rest._non_persistent_buffers_set = network._non_persistent_buffers_set
    children = {key: child for key, child in network._modules.items() if key != name or further}
    if further:
        children[name] = rest_of(network.get_submodule(name), further)
    rest._modules = children
    return rest
