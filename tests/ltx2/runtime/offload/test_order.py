"""Copies beside kernels, on a device whose streams notice races: nothing is read too early or overwritten too soon."""

from __future__ import annotations

import pytest
import torch
from second_device import DEVICE, SecondDevice
from torch import nn

from ltx2.checkpoint.load import no_check
from ltx2.placement import DISK, RAM, Placement
from ltx2.runtime.offload.lanes import CudaLane
from ltx2.runtime.offload.reading import Reader
from ltx2.runtime.offload.streaming import Blocks, Streaming


class Deep(nn.Module):
    """More blocks than slots, so that slots and what is read into are used again."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(7))

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x).tanh()
        return x


@pytest.fixture
def run(monkeypatch, in_a_file):
    """`run(mode)`: (what a streamed network computes on the device, twice in a row; what it computes on the CPU)."""
    torch.manual_seed(0)
    network = in_a_file(Deep(), "deep.safetensors")
    device, x = SecondDevice(2**30), torch.randn(3, 32)

    def compute(mode, *, refuses_pins=False):
        device.installed(monkeypatch, Reader)
        device.refuses_pins = refuses_pins
        blocks = Blocks("blocks", "", ("forward",))
        with device.in_use(), torch.no_grad():
            streaming = Streaming(
                network, blocks, Placement(mode, 2), DEVICE, name="deep", check=lambda: None, on_bytes=no_check
            )
            try:
                found = [network(x.to(DEVICE)) for _ in range(2)]
            finally:
                streaming.release()
                assert not device.pinned
        return [tensor.here for tensor in found], network(x)

    return compute


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_streamed_blocks_arrive_before_they_are_used_and_stay_until_then(run, mode):
    found, expected = run(mode)
    assert all(torch.equal(one, expected) for one in found)


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_memory_that_cannot_be_pinned_is_copied_from_all_the_same(run, mode, caplog):
    found, expected = run(mode, refuses_pins=True)
    assert all(torch.equal(one, expected) for one in found)
    assert "cannot be pinned (error 2): copies are slower" in caplog.text


def on_host_alone(lane, moment, *, on_host=False):
    if moment and on_host:
        moment.synchronize()


def on_stream_alone(lane, moment, *, on_host=False):
    if moment:
        lane._stream.wait_event(moment)


FORGOTTEN = {
    "that a block has arrived": ("before_use", lambda lane, moment: None),
    "that a block was used": ("used", lambda lane: lane.arrived()),
    "that a slot is free": ("wait", on_host_alone),
    "that what was read is copied": ("wait", on_stream_alone),
    "that all is copied at the end": ("finish", lambda lane: None),
}


@pytest.mark.parametrize("forgotten", FORGOTTEN)
def test_each_wait_is_needed(run, monkeypatch, forgotten):
    monkeypatch.setattr(CudaLane, *FORGOTTEN[forgotten])
    with pytest.raises(AssertionError, match="race"):
        run(DISK)
