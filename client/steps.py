"""What the client does, apart from how it waits: generators of steps, done by a blocking thread or by asyncio.

A task yields steps and gets their results, and yields events, which go to the caller; so each is written once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..ltx2.errors import LTX2Error
from .connection import Connection
from .events import Event
from .websocket import AsyncLine, Disconnected, Line, NoWebsocket

Result = TypeVar("Result")
STEP_ERRORS = (LTX2Error, NoWebsocket, Disconnected)


@dataclass(frozen=True)
class Ask:
    """Do `work`, a short exchange with the server that blocks."""

    work: Callable[[], Any]


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Open:
    """Open the websocket of `client_id`."""

    client_id: str


@dataclass(frozen=True)
class Listen:
    """Wait for the next message of the websocket, no longer than `seconds`."""

    seconds: float


Step = Ask | Pause | Open | Listen
Task = Generator[Step | Event, Any, Result]


def ask(work: Callable[[], Result]) -> Task[Result]:
    """A task of one exchange."""
    return (yield Ask(work))


class _Walk(Generic[Result]):
    """A task on its way: `step` gives the next step or event, None at the end, after which `result` is there."""

    result: Result

    def __init__(self, task: Task[Result]):
        self._task = task
        self._go_on: Callable[[], Step | Event] = lambda: next(task)

    def step(self) -> Step | Event | None:
        go_on, self._go_on = self._go_on, lambda: next(self._task)
        try:
            return go_on()
        except StopIteration as end:
            self.result = end.value
            return None

    def answer(self, value: Any) -> None:
        self._go_on = lambda: self._task.send(value)

    def fail(self, error: Exception) -> None:
        self._go_on = lambda: self._task.throw(error)


def stream(task: Task[Any], connection: Connection) -> Generator[Event, None, None]:
    """Do a task in this thread; its events, as they come."""
    return _streamed(_Walk(task), connection)


def done(task: Task[Result], connection: Connection) -> Result:
    """Do a task in this thread; its result."""
    walk = _Walk(task)
    for _ in _streamed(walk, connection):
        pass
    return walk.result


def _streamed(walk: _Walk[Any], connection: Connection) -> Generator[Event, None, None]:
    line = Line(connection)

    def do(step: Step) -> Any:
        if isinstance(step, Ask):
            return step.work()
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return line.open(step.client_id) if isinstance(step, Open) else line.listen(step.seconds)

    try:
        while (step := walk.step()) is not None:
            if not isinstance(step, Step):
                yield step
                continue
            try:
                walk.answer(do(step))
            except STEP_ERRORS as error:
                walk.fail(error)
    finally:
        line.close()


def astream(task: Task[Any], connection: Connection) -> AsyncGenerator[Event, None]:
    """`stream` in an event loop: HTTP goes on in a thread for each exchange, waiting and the websocket need none."""
    return _astreamed(_Walk(task), connection)


async def adone(task: Task[Result], connection: Connection) -> Result:
    """`done` in an event loop."""
    walk = _Walk(task)
    async for _ in _astreamed(walk, connection):
        pass
    return walk.result


async def _astreamed(walk: _Walk[Any], connection: Connection) -> AsyncGenerator[Event, None]:
    line = AsyncLine(connection)

    async def do(step: Step) -> Any:
        if isinstance(step, Ask):
            return await _finished(step.work)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await (line.open(step.client_id) if isinstance(step, Open) else line.listen(step.seconds))

    try:
        while (step := walk.step()) is not None:
            if not isinstance(step, Step):
                yield step
                continue
            try:
                walk.answer(await do(step))
            except STEP_ERRORS as error:
                walk.fail(error)
    finally:
        await line.close()


async def _finished(work: Callable[[], Any]) -> Any:
    """What `work` gives. No thread can be stopped: who is cancelled waits for it, to know what the server was told."""
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        thread.exception()  # looked at, as asyncio complains of errors that nobody sees
        raise
