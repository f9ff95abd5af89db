"""A network with several lists of blocks: all are streamed, one at a time, to the same bits."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from ltx2.placement import DISK, RAM, Placement
from ltx2.runtime.offload.lanes import CpuLane, HostBuffer
from ltx2.runtime.offload.streaming import Blocks, StreamedNetwork

NARROW, WIDE = 64, 128
BLOCKS = Blocks("reader.layers", "reader", ("forward",), (Blocks("writer.layers", "writer", ("forward",)),))


class Chain(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(count))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class ReaderAndWriter(nn.Module):
    """Two chains one after the other, and a layer between them."""

    def __init__(self):
        super().__init__()
        self.reader, self.between, self.writer = Chain(NARROW, 5), nn.Linear(NARROW, WIDE), Chain(WIDE, 3)

    def forward(self, x):
        return self.writer(self.between(self.reader(x)))


class CountingLane(CpuLane):
    """A way to the CPU; `most` is the most bytes that slots had at once, `made` are the buffers in RAM."""

    def __init__(self, enough_for=100):
        self._enough_for, self._slots, self.most, self.made = enough_for, [], 0, []

    def slots(self, count, num_bytes):
        made = super().slots(count, num_bytes)
        self._slots += [weakref.ref(slot) for slot in made]
        self.most = max(self.most, sum(slot.nbytes for each in self._slots if (slot := each()) is not None))
        return made

    def host_buffer(self, num_bytes):
        if len(self.made) == self._enough_for:
            raise MemoryError("no more")
        self.made.append(HostBuffer(num_bytes, pinned=False))
        return self.made[-1]


@pytest.fixture
def network(in_a_file):
    torch.manual_seed(0)
    return in_a_file(ReaderAndWriter(), "two.safetensors")


def streamed(network, mode, lane):
    options = {"name": "two.safetensors", "check": lambda: None, "on_bytes": lambda done, total: None, "lane": lane}
    return StreamedNetwork(network, BLOCKS, Placement(mode), torch.device("cpu"), **options)


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_all_lists_are_streamed_one_at_a_time_and_give_the_same(network, mode, leaves_nothing):
    x = torch.randn(3, NARROW)
    expected, lane = network(x), CountingLane()
    with leaves_nothing():
        streaming = streamed(network, mode, lane)
        for _ in range(2):
            assert torch.equal(network(x), expected)
    assert set(streaming.rest.state_dict()) == {"between.weight", "between.bias"}
    assert lane.most == streaming.slot_bytes == 2 * (WIDE * WIDE + WIDE) * 4, "two of the wide ones, and no narrow one"
    assert streaming.num_bytes == sum(
        tensor.nbytes for name, tensor in network.state_dict().items() if ".layers." in name
    )
    assert streaming.held_bytes == (streaming.num_bytes if mode == RAM else 0)
    streaming.release()
    assert streaming.held_bytes == 0
    assert type(network.reader.layers) is type(network.writer.layers) is nn.ModuleList
    assert torch.equal(network(x), expected)


def test_where_ram_does_not_hold_the_second_list_the_first_is_given_back(network):
    x = torch.randn(3, NARROW)
    expected, lane = network(x), CountingLane(enough_for=6)
    with pytest.raises(MemoryError, match="no more"):
        streamed(network, RAM, lane)
    assert [buffer.bytes.nbytes for buffer in lane.made] == [0] * 6
    assert type(network.reader.layers) is type(network.writer.layers) is nn.ModuleList
    assert torch.equal(network(x), expected)
