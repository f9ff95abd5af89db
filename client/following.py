"""Following a graph to its end: over a websocket while there is one, and by asking over HTTP, which is what counts.

The websocket tells quickly and may lose messages; the queue and the history lose nothing. So whatever comes back from a
break, and whatever has been silent for a while, is asked for over HTTP before the graph is believed to run or to have
ended; and events that a break swallowed are told from the history, except what no longer matters: steps and pictures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from ..ltx2.errors import LTX2Error
from .connection import NoAnswer
from .events import Event, Finished, News, NodeCached, NodeExecuted, Reader, Status, title_of
from .steps import Listen, Open, Pause, Task
from .tasks import Look, Tasks, ended_files
from .websocket import Disconnected, NoWebsocket

FIRST_LOOK, LONGEST_PAUSE = 0.1, 2.0  # seconds between looks at the queue where no websocket tells
DRAINING = 0.2  # seconds for messages that a websocket still holds when the graph has ended
QUIET = 5.0  # seconds without a message after which the server is asked
# Seconds without a message after which the websocket is opened anew: a server that notices late that the connection
# before this one has broken forgets this one with it, and sends nothing more.
DEAF = 60.0
FIRST_RETRY, LONGEST_RETRY = 0.25, 10.0  # seconds between tries to open the websocket
PATIENCE = 60.0  # seconds for which a server may be away that was there before


def follow(tasks: Tasks, prompt_id: str, begin: Task[Any] | None = None, limit: float | None = None) -> Task[None]:
    """Events of a graph until it has ended; raises as `Client.events`.

    Args:
        tasks: of the graph's server.
        begin: what queues the graph, done once the websocket is open; None where it is queued already.
        limit: seconds after which to stop waiting.
    """
    ear, story = _Ear(tasks, prompt_id), _Story(prompt_id)
    pause, end = FIRST_LOOK, math.inf if limit is None else time.monotonic() + limit
    yield from ear.open()
    if begin is not None:
        yield from begin
    while True:
        look = yield from _patient_look(tasks, prompt_id, is_new=story.status is None)
        story.reader.prompt = look.prompt
        if look.status.state in ("ended", "unknown"):
            yield from _drain(ear, story)
            yield from story.caught_up(look)
            yield from story.told(look.status)
            yield Finished(tuple(ended_files(prompt_id, look)))
            return
        yield from story.told(look.status)
        if time.monotonic() >= end:
            state = look.status.state
            raise LTX2Error(f"the graph must end within {limit:g} s; {prompt_id} is still {state}; wait on")
        yield from _listen(ear, story, QUIET if ear.is_open and not story.is_ending else pause, end)
        pause = min(1.5 * pause, LONGEST_PAUSE)
        yield from ear.open()


def _patient_look(tasks: Tasks, prompt_id: str, is_new: bool) -> Task[Look]:
    """What the server knows; one that was there before is waited for."""
    end = time.monotonic() + (0 if is_new else PATIENCE)
    while True:
        try:
            return (yield from tasks.look(prompt_id))
        except NoAnswer as error:
            if time.monotonic() >= end:
                text = f"{error}; graph {prompt_id} may go on there, and can be waited for again"
                raise NoAnswer(text) from error
            yield Pause(LONGEST_PAUSE)


def _listen(ear: _Ear, story: _Story, seconds: float, end: float) -> Task[None]:
    """Tell what is heard until it is time to look: silence for `seconds`, a break, the end, a change of the queue."""
    while (left := min(seconds, end - time.monotonic())) > 0:
        message = yield from ear.next(left)
        if message is None:
            return
        for each in story.reader.read(message):
            if not isinstance(each, News):
                yield from story.told(each)
            elif each.has_ended or story.is_waiting:
                story.is_ending = story.is_ending or each.has_ended
                return


def _drain(ear: _Ear, story: _Story) -> Task[None]:
    """Tell what the websocket still holds of a graph that has ended."""
    while ear.is_open and not story.is_ending and (message := (yield from ear.next(DRAINING))) is not None:
        for each in story.reader.read(message):
            if isinstance(each, News):
                story.is_ending = story.is_ending or each.has_ended
            else:
                yield from story.told(each)


class _Story:
    """What has been told of a graph, so that nothing of it is told twice."""

    def __init__(self, prompt_id: str):
        self.reader, self.status, self.is_ending = Reader(prompt_id), None, False
        self._nodes: set[tuple[type[Event], str]] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether the graph is about to change its place in the queue, or to leave it."""
        return self.is_ending or (self.status is not None and self.status.state == "pending")

    def told(self, event: Event) -> Iterator[Event]:
        """The event, if it is news."""
        if isinstance(event, Status):
            is_news, self.status = event != self.status, event
        elif isinstance(event, NodeCached | NodeExecuted):
            key = (type(event), event.node_id)
            is_news = key not in self._nodes
            self._nodes.add(key)
        else:
            is_news = True
        if is_news:
            yield event

    def caught_up(self, look: Look) -> Iterator[Event]:
        """What the history has of the graph and nobody was told."""
        entry = look.entry or {}
        messages = dict((entry.get("status") or {}).get("messages") or ())
        for node_id in (messages.get("execution_cached") or {}).get("nodes") or ():
            yield from self.told(NodeCached(node_id, title_of(look.prompt, node_id)))
        for node_id, output in (entry.get("outputs") or {}).items():
            yield from self.told(NodeExecuted(node_id, title_of(look.prompt, node_id), output))


class _Ear:
    """A graph's websocket: opened, opened again after a break, and given up where the server has none to give."""

    def __init__(self, tasks: Tasks, client_id: str):
        self.is_open = False
        self._tasks, self._client_id, self._is_given_up = tasks, client_id, False
        self._heard_at, self._retry_at, self._retry_after = 0.0, 0.0, FIRST_RETRY

    def open(self) -> Task[None]:
        """Open it if that is due."""
        now = time.monotonic()
        is_well = self.is_open and now - self._heard_at < DEAF
        if is_well or self._is_given_up or now < self._retry_at:
            return
        try:
            yield Open(self._client_id)
            self.is_open, self._heard_at = True, time.monotonic()
        except NoWebsocket as error:
            self.is_open, self._is_given_up = False, True
            self._tasks.say_once(f"no websocket is there ({error}); the server is asked every {LONGEST_PAUSE:g} s")
        except Disconnected:
            self._break()

    def next(self, seconds: float) -> Task[str | bytes | None]:
        """The next message; None after `seconds` without one, and at a break."""
        if not self.is_open:
            yield Pause(seconds)
            return None
        try:
            message = yield Listen(seconds)
        except Disconnected:
            self._break()
            return None
        if message is not None:
            self._heard_at, self._retry_after = time.monotonic(), FIRST_RETRY
        return message

    def _break(self) -> None:
        self.is_open, self._retry_at = False, time.monotonic() + self._retry_after
        self._retry_after = min(2 * self._retry_after, LONGEST_RETRY)
