"""A thread that takes things while they are made: order, bounds, and errors on either side."""

from __future__ import annotations

import threading
import time

import pytest

from ltx2.media.background import Background


class Stopped(Exception):
    """What either side may raise."""


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("taker")]


def test_things_are_taken_in_order_by_another_thread():
    taken = []
    with Background(lambda thing: taken.append((thing, threading.current_thread().name)), 2, "taker") as taker:
        for number in range(20):
            taker.put(number)
    assert taken == [(number, "taker_0") for number in range(20)]
    assert threads() == []


def test_no_more_wait_than_may():
    made, taken, gate = [], [], threading.Event()

    def take(thing):
        gate.wait(10)
        taken.append(thing)

    def make(taker):
        for number in range(8):
            taker.put(number)
            made.append(number)

    with Background(take, 2, "taker") as taker:
        maker = threading.Thread(target=make, args=(taker,))
        maker.start()
        time.sleep(0.5)
        assert len(made) == 3, "one is being taken, two wait"
        gate.set()
        maker.join(10)
    assert taken == list(range(8))


@pytest.mark.parametrize("count", [1, 50])
def test_an_error_of_the_thread_ends_the_block(count):
    """At the next `put`, or at the end of the block where there is none."""

    def take(thing):
        raise Stopped(thing)

    made = []

    def make():
        with Background(take, 2, "taker") as taker:
            for number in range(count):
                taker.put(number)
                made.append(number)

    with pytest.raises(Stopped, match="0"):
        make()
    assert len(made) <= 3
    assert threads() == []


def test_an_error_of_the_block_ends_the_thread():
    taken, busy = [], threading.Event()

    def take(thing):
        taken.append(thing)
        busy.set()
        time.sleep(0.3)

    def make():
        with Background(take, 4, "taker") as taker:
            for number in range(4):
                taker.put(number)
            busy.wait(10)
            raise Stopped

    with pytest.raises(Stopped):
        make()
    assert taken == [0], "what waits is left out"
    assert threads() == []
