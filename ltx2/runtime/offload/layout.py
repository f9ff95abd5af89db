"""How the tensors of one block lie in one buffer, so that it arrives as one copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoint.lora_stack import Change
from ...errors import ModelFileError
from .mapped import Extent, MappedFiles

_ALIGNMENT = 256  # bytes: what GPU libraries like best

#: (parameter name, shape) -> the low-rank changes to be merged into it.
Merging = Callable[[str, tuple[int, ...]], list[Change]]


@dataclass(frozen=True, eq=False)
class Piece:
    """One tensor in the buffer of its block.

    Attributes:
        home: the tensor where it lies while it is not streamed: in a mapped file, or in RAM.
        extent: where that is in a file; None for RAM.
        start: of its bytes in the buffer.
    """

    home: Tensor
    extent: Extent | None
    start: int

    def of(self, buffer: Tensor) -> Tensor:
        """The tensor within `buffer` (bytes)."""
        there = buffer[self.start : self.start + self.home.nbytes]
        return there.view(self.home.dtype).view(self.home.shape)


@dataclass(frozen=True, eq=False)
class Place:
    """Where a module keeps a tensor: among `tensors`, under `name`."""

    tensors: dict[str, Any]
    name: str
    piece: Piece

    def put(self, tensor: Tensor) -> None:
        is_parameter = isinstance(self.piece.home, nn.Parameter)
        self.tensors[self.name] = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor

    def put_home(self) -> None:
        self.tensors[self.name] = self.piece.home


@dataclass(frozen=True, eq=False)
class Merge:
    """Low-rank changes of one weight: (down, up, scale) each."""

    weight: Piece
    changes: tuple[tuple[Piece, Piece, float], ...]

    def __call__(self, buffer: Tensor) -> None:
        """Add them to the weight in `buffer`, with the arithmetic of a merge at loading, to the bit."""
        weight = self.weight.of(buffer)
        deltas = [
            (up.of(buffer).to(weight.dtype) * scale) @ down.of(buffer).to(weight.dtype)
            for down, up, scale in self.changes
        ]
        weight.add_(sum(deltas[1:], deltas[0]))


@dataclass(frozen=True, eq=False)
class BlockLayout:
    """One block: its tensors, then what is merged into them.

    Attributes:
        kept_bytes: of the buffer, once all is merged.
        num_bytes: of the buffer while it is filled.
    """

    places: tuple[Place, ...]
    pieces: tuple[Piece, ...]
    merges: tuple[Merge, ...]
    kept_bytes: int
    num_bytes: int

    @classmethod
    def of(cls, block: nn.Module, path: str, files: MappedFiles, merging: Merging) -> BlockLayout:
        """The layout of the block that is called `path` in its network.

        Raises:
            ModelFileError: something is to be merged into a quantised weight.
        """
        filling = _Filling(files)
        places = tuple(Place(tensors, name, filling.piece(tensor)) for tensors, name, tensor in _tensors(block))
        kept = filling.num_bytes
        merges = []
        for name, weight in block.named_parameters():
            if changes := merging(f"{path}.{name}", tuple(weight.shape)):
                _check_mergeable(f"{path}.{name}", weight)
                halves = tuple((filling.piece(down), filling.piece(up), scale) for down, up, scale in changes)
                merges.append(Merge(filling.piece(weight), halves))
        return cls(places, tuple(filling.pieces.values()), tuple(merges), kept, filling.num_bytes)


class _Filling:
    """A buffer while it is laid out: tensors that modules share are in it once."""

    def __init__(self, files: MappedFiles) -> None:
        self._files = files
        self.pieces: dict[int, Piece] = {}
        self.num_bytes = 0

    def piece(self, tensor: Tensor) -> Piece:
        if id(tensor) not in self.pieces:
            self.pieces[id(tensor)] = Piece(tensor, self._files.find(tensor), self.num_bytes)
            self.num_bytes += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        return self.pieces[id(tensor)]


def _tensors(block: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    owners: Iterable[dict[str, Any]] = (
        tensors for module in block.modules() for tensors in (module._parameters, module._buffers)
    )
    return (
        (tensors, name, tensor) for tensors in owners for name, tensor in tensors.items() if isinstance(tensor, Tensor)
    )


def _check_mergeable(name: str, weight: Tensor) -> None:
    if not weight.is_floating_point() or weight.element_size() < torch.bfloat16.itemsize:
        raise ModelFileError(
            f"LoRAs merge into bf16, fp16 and fp32 weights; {name} is {weight.dtype}: use the bf16 checkpoint, or the "
            "LoRA's runtime mode"
        )
