"""Networks under ComfyUI's memory management: loaded to its device, evicted when others need the room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import comfy.model_management as management
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..long_load import long_load


class Place(NamedTuple):
    """Where a module keeps a tensor: its tensors, the name among them, and the one that is there now, or was."""

    tensors: dict[str, Any]
    name: str
    tensor: torch.Tensor


def _only_check(_moved: int, _total: int) -> None:
    management.throw_exception_if_processing_interrupted()


class MappedPatcher(ModelPatcher):
    """A ModelPatcher whose eviction puts the memory-mapped weights back instead of copying them off the device."""

    #: By full name, the places with the tensors in the mapped file; empty where weights never leave them.
    home: Mapping[str, Place] = {}
    _moved = 0  # bytes
    _on_weight: Callable[[int, int], None] = staticmethod(_only_check)

    @classmethod
    def around(cls, network: nn.Module, device: torch.device | None = None) -> MappedPatcher:
        """A patcher of a network whose weights are in their places, none of them on the meta device.

        It computes on `device`; None for ComfyUI's own.
        """
        assert not any(tensor.is_meta for tensor in network.state_dict().values()), "weights must be there"
        device = device or management.get_torch_device()
        patcher = cls(network, device, device if management.is_device_cpu(device) else management.unet_offload_device())
        patcher.settle()
        return patcher

    def settle(self) -> None:
        """Where the weights are now is their home."""
        if self.load_device != self.offload_device:
            # `data` is what ComfyUI exchanges when it moves a parameter; a detached view keeps the mapped one.
            self.home = {key: one._replace(tensor=one.tensor.detach()) for key, one in _places(self.model)}

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Inside, the user sees how much of the network has been moved, if that takes long."""
        words = f"moving {type(self.model).__name__} to {self.load_device}"
        with long_load(words, management.throw_exception_if_processing_interrupted) as self._on_weight:
            self._moved = self.loaded_size()
            try:
                yield
            finally:
                del self._on_weight

    def patch_weight_to_device(self, key: str, device_to: Any = None, *args: Any, **options: Any) -> Any:
        """Move one weight, as ComfyUI asks before it moves whole layers, for there can be cancelled between two."""
        self._on_weight(self._moved, self.model_size())
        result = super().patch_weight_to_device(key, device_to, *args, **options)
        if device_to is not None:
            path, _, name = key.rpartition(".")
            tensors = self.model.get_submodule(path)._parameters
            tensors[name] = _like(tensors[name], tensors[name].to(device_to))
            self._moved += tensors[name].nbytes
        return result

    def pin_weight_to_device(self, key: str) -> None:
        """Called for what stays in RAM: the copy of a weight that just left the device gives way to the mapped one."""
        if key in self.home:
            self._bring_home([self.home[key]], from_device=False)
        super().pin_weight_to_device(key)

    def partially_unload(self, device_to: Any, *args: Any, **options: Any) -> Any:
        freed = super().partially_unload(device_to, *args, **options)
        self._bring_home(self.home.values(), from_device=False)  # buffers as well
        return freed

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> None:
        if unpatch_weights:
            self.unpin_all_weights()  # finds what it pinned by the tensors that are there now
            self._bring_home(self.home.values())
        super().unpatch_model(device_to, unpatch_weights)

    def move_the_rest(self) -> None:
        """Bring what ComfyUI leaves behind when it loads a part: tensors of modules that do not cast at use."""
        for _, (tensors, name, tensor) in _places(self.model, but_casting=True):
            if tensor.device != self.load_device:
                tensors[name] = _like(tensor, tensor.to(self.load_device))

    def _bring_home(self, places: Iterable[Place], *, from_device: bool = True) -> None:
        """Put mapped tensors back; those on the device stay there unless they are called from it."""
        made: dict[int, torch.Tensor] = {}  # tensors that modules share stay shared
        for tensors, name, mapped in places:
            there = tensors[name]
            is_away = there.device != mapped.device
            if from_device if is_away else there.data_ptr() != mapped.data_ptr():
                tensors[name] = made.setdefault(mapped.data_ptr(), _like(there, mapped))


class HeldNetwork:
    """A ready network; `release` takes it off the device."""

    def __init__(self, network: nn.Module, device: torch.device | None = None):
        self.patcher = MappedPatcher.around(network, device)

    def change(self, function: Callable[[nn.Module], None]) -> None:
        """Let `function` replace tensors of the network, which lie in their mapped files meanwhile."""
        self.patcher.detach()
        self.patcher.home = {}  # holds what is replaced
        function(self.patcher.model)
        self.patcher.settle()

    def release(self) -> None:
        """Take the network off the device. ComfyUI forgets it when the last reference to it is gone."""
        self.patcher.detach()


def load_together(held: Sequence[HeldNetwork], activation_bytes: int) -> None:
    """Bring networks to the device, as much of them as there is room for; ComfyUI evicts others first.

    Where that fails or is cancelled none of them is there: ComfyUI would not know of a half.
    """
    patchers = [each.patcher for each in held]
    try:
        with ExitStack() as told:
            for patcher in patchers:
                told.enter_context(patcher.telling())
            management.load_models_gpu(patchers, memory_required=activation_bytes)
            for patcher in patchers:
                patcher.move_the_rest()
    except BaseException:
        for patcher in patchers:
            patcher.detach()
        raise


def _places(network: nn.Module, *, but_casting: bool = False) -> list[tuple[str, Place]]:
    """(full name, place) of every tensor, or of those whose modules do not cast at use."""
    return [
        (f"{path}.{name}" if path else name, Place(tensors, name, tensor))
        for path, module in network.named_modules()
        if not (but_casting and hasattr(module, "comfy_cast_weights"))
        for tensors in (module._parameters, module._buffers)
        for name, tensor in tensors.items()
        if tensor is not None
    ]


def _like(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    return nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new
