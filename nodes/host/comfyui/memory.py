"""Networks under ComfyUI's memory management: loaded to its device, evicted when others need the room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management as management
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn


class MappedPatcher(ModelPatcher):
    """A ModelPatcher whose eviction puts the memory-mapped weights back instead of copying them off the device."""

    #: (a module's tensors, name, the tensor in the mapped file); empty where weights never leave their place.
    home: tuple[tuple[dict[str, Any], str, torch.Tensor], ...] = ()

    @classmethod
    def around(cls, network: nn.Module) -> MappedPatcher:
        """A patcher of a network whose weights are in their places, none of them on the meta device."""
        assert not any(tensor.is_meta for tensor in network.state_dict().values()), "weights must be there"
        patcher = cls(network, management.get_torch_device(), management.unet_offload_device())
        patcher.settle()
        return patcher

    def settle(self) -> None:
        """Where the weights are now is their home."""
        if self.load_device != self.offload_device:
            # `data` is what ComfyUI exchanges when it moves a parameter; a detached view keeps the mapped one.
            self.home = tuple((tensors, name, tensor.detach()) for tensors, name, tensor in _own_tensors(self.model))

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> None:
        if unpatch_weights:
            self.unpin_all_weights()  # finds what it pinned by the tensors that are there now
            self._go_home()
        super().unpatch_model(device_to, unpatch_weights)

    def move_the_rest(self) -> None:
        """Bring what ComfyUI leaves behind when it loads a part: tensors of modules that do not cast at use."""
        for tensors, name, tensor in _own_tensors(self.model, but_casting=True):
            if tensor.device != self.load_device:
                tensors[name] = _like(tensor, tensor.to(self.load_device))

    def _go_home(self) -> None:
        made: dict[int, torch.Tensor] = {}  # tensors that modules share stay shared
        for tensors, name, mapped in self.home:
            if tensors[name].device != mapped.device:
                tensors[name] = made.setdefault(mapped.data_ptr(), _like(tensors[name], mapped))


class HeldNetwork:
    """A ready network; `release` takes it off the device."""

    def __init__(self, network: nn.Module):
        self.patcher = MappedPatcher.around(network)

    def change(self, function: Callable[[nn.Module], None]) -> None:
        """Let `function` replace tensors of the network, which lie in their mapped files meanwhile."""
        self.patcher.detach()
        self.patcher.home = ()  # holds what is replaced
        function(self.patcher.model)
        self.patcher.settle()

    def release(self) -> None:
        """Take the network off the device. ComfyUI forgets it when the last reference to it is gone."""
        self.patcher.detach()


def load_together(held: Sequence[HeldNetwork], activation_bytes: int) -> None:
    """Bring networks to the device, as much of them as there is room for; ComfyUI evicts others first."""
    patchers = [each.patcher for each in held]
    management.load_models_gpu(patchers, memory_required=activation_bytes)
    for patcher in patchers:
        patcher.move_the_rest()


def _own_tensors(network: nn.Module, *, but_casting: bool = False) -> list[tuple[dict[str, Any], str, torch.Tensor]]:
    modules = [each for each in network.modules() if not (but_casting and hasattr(each, "comfy_cast_weights"))]
    places = [tensors for module in modules for tensors in (module._parameters, module._buffers)]
    return [(tensors, name, tensor) for tensors in places for name, tensor in tensors.items() if tensor is not None]


def _like(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    return nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new
