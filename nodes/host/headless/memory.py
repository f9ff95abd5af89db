"""Which network is on the device. On the CPU networks stay where they are: memory-mapped files."""

from __future__ import annotations

import torch


class HeldNetwork:
    """A ready network; `load` brings it to the device, `release` takes it off."""

    def __init__(self, memory: DeviceMemory, network: torch.nn.Module, num_bytes: int):
        self._memory = memory
        self._network = network
        self._num_bytes = num_bytes
        self._home: list[tuple[torch.Tensor, torch.Tensor]] = []  # (tensor, its data in RAM)

    def load(self) -> None:
        """Bring the network to the device, taking others off where there is no room."""
        if self._memory.device.type == "cpu" or self._home:
            return
        self._memory.make_room(self._num_bytes, but=self)
        # Parameters made outside inference mode take no data made inside it.
        with torch.inference_mode(False), torch.no_grad():
            for tensor in (*self._network.parameters(), *self._network.buffers()):
                self._home.append((tensor, tensor.data))
                tensor.data = tensor.data.to(self._memory.device)
        self._memory.loaded.append(self)

    def unload(self) -> None:
        """Give the network its data in RAM back: nothing is copied, the files are still mapped."""
        with torch.inference_mode(False), torch.no_grad():
            for tensor, data in self._home:
                tensor.data = data
        self._home = []
        if self in self._memory.loaded:
            self._memory.loaded.remove(self)

    def release(self) -> None:
        self.unload()


class DeviceMemory:
    """The networks on one device, the longest there first."""

    def __init__(self, device: torch.device):
        self.device = device
        self.loaded: list[HeldNetwork] = []

    def make_room(self, num_bytes: int, but: HeldNetwork | None = None) -> None:
        """Take networks off the device until `num_bytes` are free, or none is left."""
        if self.device.type != "cuda":
            return
        for held in [each for each in self.loaded if each is not but]:
            if self._free() >= num_bytes:
                return
            held.unload()

    def _free(self) -> int:
        torch.cuda.empty_cache()  # blocks that the allocator keeps count as taken otherwise
        return torch.cuda.mem_get_info(self.device)[0]
