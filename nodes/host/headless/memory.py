"""Which network is on the device. On the CPU networks stay where they are: memory-mapped files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..long_load import long_load


class HeldNetwork:
    """A ready network; `load` brings it to the device, `release` takes it off."""

    def __init__(self, memory: DeviceMemory, network: torch.nn.Module, num_bytes: int):
        self._memory = memory
        self._network = network
        self.num_bytes = num_bytes
        self._home: list[tuple[dict, str, torch.Tensor]] = []  # (a module's tensors, name, the one in RAM)
        self._copies: dict[int, torch.Tensor] = {}  # id of one in RAM: the one on the device that waits for `load`

    @property
    def missing_bytes(self) -> int:
        """What it would take on the device; 0 when it is there."""
        return 0 if self._home else self.num_bytes - sum(copy.nbytes for copy in self._copies.values())

    def load(self) -> None:
        """Bring the network to the device, where the room for it has been made."""
        device = self._memory.device
        if device.type == "cpu" or self._home:
            return
        moved, self._copies = self._copies, {}  # tensors that modules share are moved once
        try:
            with long_load(f"moving {type(self._network).__name__} to {device}", self._memory.check) as on_weight:
                done = 0
                for tensors, name, tensor in self._places():
                    on_weight(done, self.num_bytes)
                    if id(tensor) not in moved:
                        moved[id(tensor)] = _on(device, tensor)
                        done += tensor.nbytes
                    self._home.append((tensors, name, tensor))
                    tensors[name] = moved[id(tensor)]
        except BaseException:
            self.unload()  # a half that is there is of no use, and would be taken for the whole
            raise
        self._memory.loaded.append(self)

    def unload(self) -> None:
        """Put the tensors in RAM back in their places: nothing is copied, the files are still mapped."""
        for tensors, name, tensor in self._home:
            tensors[name] = tensor
        self._home, self._copies = [], {}
        if self in self._memory.loaded:
            self._memory.loaded.remove(self)

    def change(self, function: Callable[[torch.nn.Module], None]) -> None:
        """Let `function` replace tensors of the network, which lie in RAM meanwhile.

        What it leaves alone and was on the device is there still, for the next `load`.
        """
        there = {id(tensor): (tensor, tensors[name]) for tensors, name, tensor in self._home}
        self.unload()
        function(self._network)
        left = {id(tensor) for _, _, tensor in self._places()}
        self._copies = {key: copy for key, (_, copy) in there.items() if key in left}

    def release(self) -> None:
        self.unload()

    def _places(self) -> list[tuple[dict, str, torch.Tensor]]:
        """(a module's tensors, name, the tensor that is there now)."""
        owners = [tensors for module in self._network.modules() for tensors in (module._parameters, module._buffers)]
        return [(tensors, name, tensor) for tensors in owners for name, tensor in tensors.items() if tensor is not None]


def _on(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    copy = tensor.detach().to(device)
    is_parameter = isinstance(tensor, torch.nn.Parameter)
    return torch.nn.Parameter(copy, requires_grad=False) if is_parameter else copy


class DeviceMemory:
    """The networks on one device, the longest there first. `check` is called between two tensors that are moved."""

    def __init__(self, device: torch.device, check: Callable[[], None] = lambda: None):
        self.device = device
        self.check = check
        self.loaded: list[HeldNetwork] = []

    def load(self, needed: Sequence[HeldNetwork], activation_bytes: int) -> None:
        """Bring all of `needed` to the device; others leave until there is room for them and what they compute."""
        if self.device.type == "cuda":
            num_bytes = sum(held.missing_bytes for held in needed) + activation_bytes
            for held in [each for each in self.loaded if each not in needed]:
                if self.free() >= num_bytes:
                    break
                held.unload()
        for held in needed:
            held.load()

    def unload_all(self) -> None:
        """Leave the device to others."""
        for held in list(self.loaded):
            held.unload()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def loaded_bytes(self) -> int:
        """Bytes of the networks that are on the device."""
        return sum(held.num_bytes for held in self.loaded)

    def free(self) -> int | None:
        """Bytes that can still be allocated; None on the CPU."""
        if self.device.type != "cuda":
            return None
        torch.cuda.empty_cache()  # blocks that the allocator keeps count as taken otherwise
        return torch.cuda.mem_get_info(self.device)[0]
