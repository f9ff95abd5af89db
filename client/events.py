"""What happens to a graph on its server, as typed events, and how they are read from a server's websocket messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..nodes.host.graph.problems import node_title

PREVIEW, PREVIEW_WITH_METADATA = 1, 4  # kinds of binary messages
IMAGE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


@dataclass(frozen=True)
class Status:
    """Where a graph is on its server; `ahead` counts the graphs that come before it.

    "unknown": never queued, removed from the queue, or forgotten with the server's history.
    """

    state: Literal["pending", "running", "ended", "unknown"]
    ahead: int = 0


@dataclass(frozen=True)
class ServerFile:
    """A file that a graph made. `type` is the server's folder: "output", or "temp" for previews."""

    name: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class NodeEvent:
    """What happened to one node: its id in the graph, and its title as a person knows it."""

    node_id: str
    title: str


@dataclass(frozen=True)
class NodeStarted(NodeEvent):
    """The node runs now."""


@dataclass(frozen=True)
class NodeCached(NodeEvent):
    """The node does not run: its result is there from an earlier graph."""


@dataclass(frozen=True)
class NodeProgress(NodeEvent):
    """The node has done `value` of `maximum` steps, of whatever it counts now."""

    value: float
    maximum: float


@dataclass(frozen=True)
class Preview(NodeEvent):
    """A picture of what the node is making: the bytes of a file of type `mime` ("image/jpeg" or "image/png")."""

    image: bytes = field(repr=False)
    mime: str


@dataclass(frozen=True)
class NodeExecuted(NodeEvent):
    """The node is done and tells the UI `output`: {"images": [{"filename", "subfolder", "type"}]} of a saver."""

    output: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """The graph has ended well; nothing comes after this."""

    files: tuple[ServerFile, ...]


Event = Status | NodeStarted | NodeCached | NodeProgress | Preview | NodeExecuted | Finished


@dataclass(frozen=True)
class News:
    """A message after which the server is to be asked: the queue has changed, or the graph `has_ended`."""

    has_ended: bool


def title_of(prompt: Mapping[str, Any], node_id: str) -> str:
    """A node's title, or its id where the graph has no such node."""
    return node_title(prompt, node_id) if node_id in prompt else node_id


class Reader:
    """Reads the messages of one graph; those of other graphs, and kinds that are unknown, say nothing here.

    Args:
        prompt_id: the graph's.

    `prompt` are its nodes, for their titles; set it once they are known.
    """

    def __init__(self, prompt_id: str):
        self.prompt: Mapping[str, Any] = {}
        self._prompt_id, self._current = prompt_id, ""

    def read(self, message: str | bytes) -> Iterator[Event | News]:
        """What a message says, in order."""
        if isinstance(message, bytes):
            yield from self._picture(message)
            return
        try:
            document = json.loads(message)
            kind, data = document["type"], document["data"]
        except (ValueError, KeyError, TypeError):
            return
        reading = _READINGS.get(kind)
        # Which node runs is told anew, without the graph's id, to who connects again.
        if reading is not None and isinstance(data, dict) and data.get("prompt_id", self._prompt_id) == self._prompt_id:
            yield from reading(self, data)

    def _status(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        yield News(has_ended=False)

    def _start(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        yield Status("running")

    def _end(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        yield News(has_ended=True)

    def _cached(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        for node_id in data.get("nodes") or ():
            yield NodeCached(node_id, title_of(self.prompt, node_id))

    def _executing(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        node_id = data.get("node")
        if node_id is None:
            yield News(has_ended=True)
        elif node_id != self._current:
            self._current = node_id
            yield NodeStarted(*self._node(node_id, data.get("display_node")))

    def _progress(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        node_id = data.get("node") or self._current
        yield NodeProgress(*self._node(node_id), data.get("value") or 0, data.get("max") or 0)

    def _executed(self, data: Mapping[str, Any]) -> Iterator[Event | News]:
        if output := data.get("output"):
            yield NodeExecuted(*self._node(data.get("node") or self._current, data.get("display_node")), output)

    def _picture(self, message: bytes) -> Iterator[Event | News]:
        try:
            (kind,) = struct.unpack_from(">I", message)
            if kind == PREVIEW_WITH_METADATA:
                (length,) = struct.unpack_from(">I", message, 4)
                about, image = json.loads(message[8 : 8 + length]), message[8 + length :]
            elif kind == PREVIEW:  # with the kind of picture in four bytes more
                about, image = {}, message[8:]
            else:
                return
        except (struct.error, ValueError):
            return
        mime = next((mime for start, mime in IMAGE_TYPES.items() if image.startswith(start)), None)
        is_known = mime is not None and isinstance(about, dict)
        if is_known and about.get("prompt_id", self._prompt_id) == self._prompt_id:
            node_id = about.get("node_id") or self._current
            yield Preview(*self._node(node_id, about.get("display_node_id")), image, mime)

    def _node(self, node_id: str, shown: str | None = None) -> tuple[str, str]:
        """A node's id, and the title of the one that is shown for it: a node may expand into others."""
        return node_id, title_of(self.prompt, shown or node_id)


_READINGS = {
    "status": Reader._status,
    "execution_start": Reader._start,
    "execution_cached": Reader._cached,
    "executing": Reader._executing,
    "progress": Reader._progress,
    "executed": Reader._executed,
    "execution_success": Reader._end,
    "execution_error": Reader._end,
    "execution_interrupted": Reader._end,
}


def files_of(entry: Mapping[str, Any]) -> list[ServerFile]:
    """The files that a graph's entry in the history tells of, each once."""
    lists = [items for ui in entry["outputs"].values() for items in ui.values() if isinstance(items, list)]
    listed = [item for items in lists for item in items if isinstance(item, dict) and "filename" in item]
    files = [ServerFile(item["filename"], item.get("subfolder", ""), item.get("type", "output")) for item in listed]
    return list(dict.fromkeys(files))
