"""What a user sees of loads that take long."""

from __future__ import annotations

import io
import time

import pytest


@pytest.fixture
def told(host, monkeypatch):
    """All that the host was asked to show."""
    told = []
    monkeypatch.setattr(host, "status", told.append)
    return told


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_a_long_load_is_told_twice_a_second_and_ends_with_its_seconds(pack, told, clock):
    checked = []
    with pack("nodes.host.long_load").long_load("loading x", lambda: checked.append(1)) as on_weight:
        for done in range(10):
            on_weight(done, 10)
            clock[0] += 0.3
    assert told == ["loading x 40 %", "loading x 60 %", "loading x 80 %", "loading x: 3 s"]
    assert len(checked) == 10


def test_a_short_load_is_quiet(pack, told, clock):
    with pack("nodes.host.long_load").long_load("loading x", lambda: None) as on_weight:
        for done in range(10):
            on_weight(done, 10)
            clock[0] += 0.05
    assert told == []


def test_a_build_counts_its_weights(pack, checkpoint):
    seen = []
    recipe = pack("ltx2.recipe").TransformerRecipe.open(checkpoint)
    network = recipe.build(lambda done, total: seen.append((done, total)))
    total = sum(tensor.numel() for tensor in network.state_dict().values())
    assert {each for _, each in seen} == {total}
    done = [each for each, _ in seen]
    assert done[0] == 0
    assert done == sorted(done)
    assert total * 0.5 < done[-1] < total


def test_a_borrowed_network_is_told_by_its_file(pack, host, told, clock, checkpoint, monkeypatch):
    monkeypatch.setattr(host, "check_cancelled", lambda: clock.__setitem__(0, clock[0] + 1.0))
    networks = pack("nodes.host.networks").NetworkCache()
    networks.borrow(pack("ltx2.recipe").AudioVAERecipe.open(checkpoint))
    assert told[0].startswith(f"loading <LTX-2 audio VAE {checkpoint.name}> ")
    assert told[0].endswith(" %")
    assert told[-1].startswith(f"loading <LTX-2 audio VAE {checkpoint.name}>: ")


def test_a_line_shows_it_where_there_is_a_terminal(pack):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    progress = pack("nodes.host.headless.progress").Progress(
        pack("nodes.host.headless.cancellation").Cancellation(), stream := Terminal()
    )
    with progress.stage("sample"):
        progress.status("loading x 40 %")
    assert "loading x 40 %" in stream.getvalue()
