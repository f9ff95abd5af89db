"""Many blocks through few slots: their order, how much is there at once, and what runs beside what."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import nn

from ltx2.errors import LTX2Error
from ltx2.placement import DISK, RAM, Placement
from ltx2.runtime.offload import sweep as sweeping
from ltx2.runtime.offload.lanes import CpuLane, in_ram
from ltx2.runtime.offload.streaming import Blocks, Streaming

NUM_BLOCKS, WIDTH = 7, 64
MODES = pytest.mark.parametrize("mode", [RAM, DISK])


class Chain(nn.Module):
    """Linear layers one after the other, each from its own place of a file."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(NUM_BLOCKS))
        self.between = lambda number: None

    def forward(self, x):
        x = self.head(x)
        for number, layer in enumerate(self.layers[: len(self.layers)]):
            x = layer(x)
            self.between(number)
        return x

    def backwards(self, x):
        for number in (4, 4, 5, -1, 0, 3):
            x = self.layers[number](x)
        return x


class SlowLane(CpuLane):
    """A copy stream that computes late: what is in a slot may be overwritten only when that is done."""

    reads_into_slots = False

    def __init__(self):
        self.waited, self.moments, self.finished = [], 0, 0

    def used(self):
        self.moments += 1
        return self.moments

    def wait(self, moment, *, on_host=False):
        self.waited.append((moment, on_host))

    def finish(self):
        self.finished += 1


@pytest.fixture
def chain(in_a_file):
    torch.manual_seed(0)
    return in_a_file(Chain(), "chain.safetensors")


@pytest.fixture
def stream(chain):
    made = []

    def make(mode, slots=2, **options):
        given = {"check": lambda: None, "on_bytes": lambda done, total: None, **options}
        blocks = Blocks("layers", "", ("forward", "backwards"))
        made.append(Streaming(chain, blocks, Placement(mode, slots), torch.device("cpu"), name="chain", **given))
        return made[-1]

    yield make
    for one in made:
        one.release()


@MODES
@pytest.mark.parametrize("slots", [2, 3])
def test_many_blocks_share_few_slots_in_order(mode, slots, chain, stream, leaves_nothing):
    x = torch.randn(3, WIDTH)
    plain, back = chain(x), chain.backwards(x)
    places = []
    chain.between = lambda number: places.append(chain.layers._modules[str(number)].weight.untyped_storage().data_ptr())
    with leaves_nothing():
        stream(mode, slots)
        for _ in range(3):
            places.clear()
            assert torch.equal(chain(x), plain)
            assert len(places) == NUM_BLOCKS
            assert len(set(places)) == slots
            assert places == [places[number % slots] for number in range(NUM_BLOCKS)]
        # Blocks that are skipped, used again, or asked for after later ones.
        assert torch.equal(chain.backwards(x), back)


@MODES
def test_a_slot_is_written_to_only_after_what_was_computed_with_it(mode, chain, stream):
    x, lane = torch.randn(3, WIDTH), SlowLane()
    plain = chain(x)
    stream(mode, lane=lane)
    assert torch.equal(chain(x), plain)
    # The first two slots are fresh; then each waits for the block that had it before.
    assert [moment for moment, on_host in lane.waited if not on_host] == [None, None, 1, 2, 3, 4, 5]
    assert lane.finished >= 1


@pytest.fixture
def passing(chain, stream):
    """(a source on disk with a lane that needs buffers, the buffers that it has read into so far)."""
    streaming, buffers = stream(DISK, lane=SlowLane()), []
    host = streaming._source.host
    streaming._source.host = lambda number, reader, buffer: (buffers.append(buffer), host(number, reader, buffer))[1]
    return streaming, buffers


def test_blocks_on_disk_pass_through_two_buffers_that_are_kept(chain, passing):
    streaming, buffers = passing
    x = torch.randn(3, WIDTH)
    assert streaming.held_bytes == 0
    plain = chain(x)
    both = {buffer.data_ptr() for buffer in buffers}
    assert len(both) == 2
    assert streaming.held_bytes == 2 * streaming._source.slot_bytes
    for _ in range(2):
        assert torch.equal(chain(x), plain)
        chain.backwards(x)  # ends before the last block, and begins anew
    assert len(buffers) > 3 * NUM_BLOCKS
    assert {buffer.data_ptr() for buffer in buffers} == both
    streaming.release()
    assert streaming.held_bytes == 0


def test_an_end_in_the_middle_gives_the_buffers_back(chain, passing, leaves_nothing):
    streaming, buffers = passing
    x = torch.randn(3, WIDTH)
    plain = chain(x)

    def cancel(number):
        if number == 3:
            raise KeyboardInterrupt

    chain.between = cancel
    with leaves_nothing(), pytest.raises(KeyboardInterrupt):
        chain(x)
    assert streaming.held_bytes == 0
    chain.between = lambda number: None
    assert torch.equal(chain(x), plain)
    assert streaming.held_bytes == 2 * streaming._source.slot_bytes


def test_a_read_that_hangs_has_its_buffers_for_itself(chain, passing, monkeypatch):
    monkeypatch.setattr(sweeping, "_PATIENCE_SECONDS", 0.3)
    streaming, buffers = passing
    x = torch.randn(3, WIDTH)
    plain, hang = chain(x), threading.Event()
    host = streaming._source.host
    streaming._source.host = lambda *given: (host(*given), hang.wait(20))[0]
    with pytest.raises(LTX2Error, match="nothing came for 0 s"):
        chain(x)
    streaming._source.host, hung = host, len(buffers)
    monkeypatch.undo()
    assert torch.equal(chain(x), plain)
    (hanging,) = (buffer.data_ptr() for buffer in buffers[hung - 1 : hung])
    assert hanging not in {buffer.data_ptr() for buffer in buffers[hung:]}
    assert streaming.held_bytes == 2 * streaming._source.slot_bytes
    hang.set()
    for thread in threading.enumerate():
        if thread.name.startswith("LTX-2 blocks"):
            thread.join(5)
            assert not thread.is_alive()
    assert streaming.held_bytes == 2 * streaming._source.slot_bytes


def test_outside_of_its_calls_blocks_are_those_in_the_file(chain, stream):
    x = torch.randn(3, WIDTH)
    homes = [layer.weight.data_ptr() for layer in chain.layers]
    stream(DISK)
    assert [layer.weight.data_ptr() for layer in chain.layers] == homes
    assert torch.equal(chain.layers[3](x), torch.nn.functional.linear(x, chain.layers[3].weight, chain.layers[3].bias))
    assert len(chain.layers) == NUM_BLOCKS
    assert chain.layers[-1] is chain.layers[NUM_BLOCKS - 1]


@MODES
def test_while_a_block_computes_the_next_one_arrives(mode, chain, stream):
    streaming = stream(mode)
    arrived = [threading.Event() for _ in range(NUM_BLOCKS)]
    streaming._source.finish = lambda number, slot: arrived[number].set()
    seen = []
    chain.between = lambda number: seen.append(number == NUM_BLOCKS - 1 or arrived[number + 1].wait(20))
    chain(torch.randn(3, WIDTH))
    assert seen == [True] * NUM_BLOCKS


def test_a_disk_that_hangs_ends_in_an_error_and_can_be_cancelled(chain, stream, monkeypatch):
    monkeypatch.setattr(sweeping, "_PATIENCE_SECONDS", 0.3)
    hang = threading.Event()
    streaming = stream(DISK)
    host = streaming._source.host
    streaming._source.host = lambda *given: (hang.wait(20), host(*given))[1]
    with pytest.raises(LTX2Error, match="blocks of chain must arrive while they are streamed; nothing came for 0 s"):
        chain(torch.randn(3, WIDTH))
    hang.set()
    for thread in threading.enumerate():
        if thread.name.startswith("LTX-2 blocks"):
            thread.join(5)
            assert not thread.is_alive()


def test_cancelling_is_heeded_while_a_block_is_awaited(chain, stream, leaves_nothing):
    class Cancelled(BaseException):
        pass

    calls = []

    def check():
        calls.append(1)
        if len(calls) > 1:
            raise Cancelled

    streaming = stream(DISK, check=check)
    host = streaming._source.host
    streaming._source.host = lambda *given: (time.sleep(0.5), host(*given))[1]
    with leaves_nothing(), pytest.raises(Cancelled):
        chain(torch.randn(3, WIDTH))


def test_ram_that_cannot_be_had_is_memory_that_ran_out():
    """What nodes explain with cures, and not an error of the system's."""
    with pytest.raises(MemoryError):
        in_ram(2**60)
