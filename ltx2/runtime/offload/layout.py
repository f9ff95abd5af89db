"""How the tensors of one block lie in one buffer, so that it arrives as one copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoint.lora_stack import LoraStack
from ...errors import ModelFileError
from .mapped import Extent, MappedFiles

_ALIGNMENT = 256  # bytes: what GPU libraries like best


@dataclass(frozen=True, eq=False)
class Piece:
    """One tensor in the buffer of its block.

    Attributes:
        home: the tensor where it lies while it is not streamed: in a mapped file, or in RAM.
        extent: where that is in a file; None for RAM.
        dtype: of what is used; `home` may have another.
        start: of its bytes in the buffer.
        kept_start: the same where the buffer holds nothing but what is used.
    """

    home: Tensor
    extent: Extent | None
    dtype: torch.dtype
    start: int
    kept_start: int

    def arrived(self, buffer: Tensor) -> Tensor:
        """The tensor as it comes from its home."""
        return _view(buffer, self.start, self.home.dtype, self.home.shape)

    def finished(self, buffer: Tensor) -> Tensor:
        """The tensor that is used, in the buffer in which it arrived."""
        return _view(buffer, self.start, self.dtype, self.home.shape)

    def kept(self, buffer: Tensor) -> Tensor:
        """The tensor that is used, in a buffer that holds nothing else."""
        return _view(buffer, self.kept_start, self.dtype, self.home.shape)


def _view(buffer: Tensor, start: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    return buffer[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)


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
class Finish:
    """What is done to one weight on its way: low-rank changes (down, up, scale) are merged, and then it is cast."""

    weight: Piece
    changes: tuple[tuple[Piece, Piece, float], ...]
    then: Callable[[Tensor], Tensor]

    def __call__(self, buffer: Tensor) -> None:
        """With the arithmetic of loading, to the bit."""
        weight = self.weight.arrived(buffer)
        deltas = [
            (up.arrived(buffer).to(weight.dtype) * scale) @ down.arrived(buffer).to(weight.dtype)
            for down, up, scale in self.changes
        ]
        if deltas:
            weight.add_(sum(deltas[1:], deltas[0]))
        if self.weight.dtype != weight.dtype:
            self.weight.finished(buffer).copy_(self.then(weight))


@dataclass(frozen=True, eq=False)
class BlockLayout:
    """One block: its tensors, then what is merged into them.

    Attributes:
        num_bytes: of the buffer in which it arrives.
        kept_bytes: of one that holds nothing but what is used.
    """

    places: tuple[Place, ...]
    pieces: tuple[Piece, ...]
    finishes: tuple[Finish, ...]
    num_bytes: int
    kept_bytes: int

    @classmethod
    def of(cls, block: nn.Module, path: str, files: MappedFiles, stack: LoraStack) -> BlockLayout:
        """The layout of the block that is called `path` in its network.

        Args:
            stack: what is to be done to its weights on their way.

        Raises:
            ModelFileError: something is to be merged into a quantised weight.
        """
        filling = _Filling(files)
        weights = {f"{path}.{name}": weight for name, weight in block.named_parameters()}
        for name, weight in weights.items():
            filling.piece(weight, stack.then(name, weight.to("meta")).dtype)
        places = tuple(Place(tensors, name, filling.piece(tensor)) for tensors, name, tensor in _tensors(block))
        kept = filling.kept_bytes
        finishes = []
        for name, weight in weights.items():
            changes = stack.merging(name, tuple(weight.shape))
            if changes:
                _check_mergeable(name, weight)
            piece = filling.piece(weight)
            if changes or piece.dtype != weight.dtype:
                halves = tuple((filling.piece(down), filling.piece(up), scale) for down, up, scale in changes)
                finishes.append(Finish(piece, halves, partial(stack.then, name)))
        return cls(places, tuple(filling.pieces.values()), tuple(finishes), filling.num_bytes, kept)


class _Filling:
    """A buffer while it is laid out: tensors that modules share are in it once."""

    def __init__(self, files: MappedFiles) -> None:
        self._files = files
        self.pieces: dict[int, Piece] = {}
        self.num_bytes = 0
        self.kept_bytes = 0

    def piece(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Piece:
        if id(tensor) not in self.pieces:
            dtype = dtype or tensor.dtype
            extent = self._files.find(tensor)
            self.pieces[id(tensor)] = Piece(tensor, extent, dtype, self.num_bytes, self.kept_bytes)
            kept = tensor.numel() * dtype.itemsize
            self.num_bytes += _aligned(max(tensor.nbytes, kept))
            self.kept_bytes += _aligned(kept)
        return self.pieces[id(tensor)]


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT


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
