"""Runs a graph in this process, and tells of it in the events of a run on a server."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .events import Event, Finished, NodeCached, NodeExecuted, NodeProgress, NodeStarted, Preview, ServerFile
from .graphs import changed

if TYPE_CHECKING:
    from PIL import Image

    from ..nodes.host.headless.cancellation import Cancellation


class Events:
    """Tells `progress` what the headless host observes (its Observer)."""

    def __init__(self, progress: Callable[[Event], None]):
        self.tell = progress
        self._node = ("", "")

    def cached(self, node_id: str, title: str) -> None:
        self.tell(NodeCached(node_id, title))

    def started(self, node_id: str, title: str) -> None:
        self._node = (node_id, title)
        self.tell(NodeStarted(node_id, title))

    def stepped(self, done: int, total: int) -> None:
        self.tell(NodeProgress(*self._node, done, total))

    def executed(self, node_id: str, title: str, ui: Mapping[str, Any]) -> None:
        self.tell(NodeExecuted(node_id, title, ui))

    def preview(self, picture: Image.Image) -> None:
        file = io.BytesIO()
        picture.save(file, "JPEG")
        self.tell(Preview(*self._node, file.getvalue(), "image/jpeg"))


def run_here(
    graph: Path | str | Mapping[str, Any],
    overrides: Mapping[str, Any],
    output: Path,
    input: Path,
    models: Path,
    progress: Callable[[Event], None] | None = None,
    cancellation: Cancellation | None = None,
) -> list[Path]:
    """The files that a graph saves into `output`. Arguments are those of `run`."""
    from ..nodes.host.headless.session import run_graph, saved_files, session

    events = None if progress is None else Events(progress)
    watched = {} if events is None else {"observer": events, "on_preview": events.preview}
    with session(models, input, output, cancellation=cancellation, **watched) as executor:
        paths = saved_files(run_graph(executor, changed(graph, overrides, executor.infos())), output)
    if events is not None:
        places = [path.relative_to(output) for path in paths]
        files = (ServerFile(place.name, place.parent.as_posix().removeprefix("."), "output") for place in places)
        events.tell(Finished(tuple(files)))
    return paths
