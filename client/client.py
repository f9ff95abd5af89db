"""A client of a ComfyUI server that blocks; `async_client` has its twin for asyncio."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..nodes.host.graph.document import Graph
from .connection import Connection, NoAnswer
from .errors import RunError
from .events import Event, Finished, ServerFile, Status
from .following import follow
from .steps import Task, done, stream
from .tasks import NodeInfos, Tasks


class Client:
    """A ComfyUI server. It holds nothing open between calls: use it from any thread, and forget it.

    Args:
        url: "http://host:8188"; "host:8188" is taken for http.
        timeout: seconds without a byte after which an answer counts as lost; no limit on how long a graph runs.

    Every method raises LTX2Error when the server does not answer or answers with an error.
    """

    def __init__(self, url: str, timeout: float = 60.0):
        self._connection = Connection(url, timeout)
        self._tasks = Tasks(self._connection)

    def infos(self) -> NodeInfos:
        """The server's node classes; read afresh, as combo boxes list files."""
        return NodeInfos(self._connection)

    def prepare(self, source: Path | str | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Graph:
        """A graph as this server runs it.

        Args:
            source: a UI or API graph: a file or its content.
            overrides: {"title.input": value}; a node's id serves as its title.

        Raises:
            LTX2Error: no graph, or a title or input that is not in it (with the nearest that are).
        """
        return done(self._tasks.prepare(source, overrides or {}), self._connection)

    def upload(self, path: Path | str, subfolder: str = "") -> str:
        """Send a file into the server's input folder.

        Returns:
            Its name there, as Load Image takes it: another than its own where a different file has that already.
        """
        return done(self._tasks.upload(path, subfolder), self._connection)

    def queue(
        self, prompt: Mapping[str, Any], workflow: Mapping[str, Any] | None = None, prompt_id: str | None = None
    ) -> str:
        """Queue an API graph, once: where the answer is lost, the server is asked for the id before it is sent again.

        Args:
            prompt: {id: {"class_type", "inputs"}}.
            workflow: its UI file, which savers write into what they save.
            prompt_id: a UUID; one that the server knows already is not queued again. None for a new one.

        Returns:
            The id under which the other methods know the graph.

        Raises:
            LTX2Error: every input that the server refuses; then nothing is queued.
            NoAnswer: the graph may be queued or not; the message has the id.
        """
        return done(self._tasks.queue(prompt, workflow, prompt_id), self._connection)

    def status(self, prompt_id: str) -> Status:
        """Where the graph is now."""
        return done(self._tasks.status(prompt_id), self._connection)

    def events(self, prompt_id: str, limit: float | None = None) -> Generator[Event, None, None]:
        """What happens to the graph, as it happens, until it has ended; the last event is Finished.

        They come over a websocket, opened again with growing pauses where it breaks; what a break swallowed is told
        later, except steps and pictures. Where there is no websocket, the log says why, and the server is asked at
        least every two seconds: then nodes are told of when the graph has ended. Follow a graph from one place only:
        a server speaks to who came last, and the others ask every few seconds.

        Args:
            prompt_id: the graph's, queued by a client of this kind.
            limit: seconds; the graph runs on after them. None waits as long as it takes.

        Raises:
            RunError: a node failed, or the graph was cancelled.
            LTX2Error: the server does not know the graph, or `limit` has passed.
            NoAnswer: the server has been away for a minute; the graph may go on, and can be waited for again.
        """
        return stream(follow(self._tasks, prompt_id, limit=limit), self._connection)

    def wait(
        self, prompt_id: str, progress: Callable[[Event], None] | None = None, limit: float | None = None
    ) -> list[ServerFile]:
        """Wait until the graph has ended.

        Args:
            prompt_id, limit: as for `events`, with its errors.
            progress: called with each event; what it raises ends the waiting, not the graph.

        Returns:
            Its files.
        """
        return self._files(follow(self._tasks, prompt_id, limit=limit), progress)

    def outputs(self, prompt_id: str) -> list[ServerFile]:
        """The files of a graph that has ended.

        Raises:
            RunError: a node failed, or the graph was cancelled.
            LTX2Error: the server has no such graph in its history.
        """
        return done(self._tasks.outputs(prompt_id), self._connection)

    def cancel(self, prompt_id: str) -> bool:
        """Take the graph from the queue, or stop it where it runs; other graphs go on.

        Returns:
            False where there was nothing to cancel. A running graph stops at its next step, which `wait` shows.
        """
        return done(self._tasks.cancel(prompt_id), self._connection)

    def fetch(self, file: ServerFile, folder: Path | str) -> Path:
        """Download a file of a graph into `folder`, in its sub-folder there; it appears when it is complete.

        Returns:
            Its path; "clip (2).mp4" where there is a clip.mp4, which is kept.

        Raises:
            LTX2Error: a name that leads out of `folder`, or a file that cannot be written.
        """
        return done(self._tasks.fetch(file, folder), self._connection)

    def run(
        self,
        graph: Graph,
        output: Path | str = "output",
        input: Path | str = "input",
        progress: Callable[[Event], None] | None = None,
        prompt_id: str | None = None,
    ) -> list[Path]:
        """Upload what the graph reads from `input`, run it, and fetch what it saves into `output`.

        Args:
            graph: from `prepare`.
            output, input: folders here. The server's own input folder has what is not in `input`.
            progress, prompt_id: as for `wait` and `queue`.

        Ctrl-C, and whatever `progress` raises, cancels the graph on the server too.
        """
        prompt_id = prompt_id or str(uuid.uuid4())
        graph = done(self._tasks.with_uploads(graph, Path(input)), self._connection)
        begin = self._tasks.queue(graph.prompt, graph.workflow, prompt_id)
        try:
            files = self._files(follow(self._tasks, prompt_id, begin), progress)
        except (RunError, NoAnswer):
            raise
        except BaseException:
            done(self._tasks.give_up(prompt_id), self._connection)
            raise
        return [self.fetch(file, output) for file in files if file.type == "output"]

    def _files(self, task: Task[None], progress: Callable[[Event], None] | None) -> list[ServerFile]:
        files: tuple[ServerFile, ...] = ()
        with closing(stream(task, self._connection)) as events:
            for event in events:
                if progress is not None:
                    progress(event)
                if isinstance(event, Finished):
                    files = event.files
        return list(files)
