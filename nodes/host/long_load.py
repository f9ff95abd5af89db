"""What a user sees of a load that takes long: what is loaded, and how much of it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import current

_QUIET_SECONDS, _SECONDS_BETWEEN = 1.0, 0.5


@contextmanager
def long_load(words: str, check: Callable[[], None]) -> Iterator[Callable[[int, int], None]]:
    """Yields what is called with (units loaded, units in all) before each weight: it calls `check`, and tells the user.

    `words` say what happens ("loading x.safetensors"). A load of less than a second stays quiet.
    """
    started = time.monotonic()
    first = next_time = started + _QUIET_SECONDS

    def on_weight(done: int, total: int) -> None:
        nonlocal next_time
        check()
        if (now := time.monotonic()) >= next_time:
            next_time = now + _SECONDS_BETWEEN
            current().status(f"{words} {100 * done // max(total, 1)} %")

    yield on_weight
    if next_time > first:
        current().status(f"{words}: {time.monotonic() - started:.0f} s")
