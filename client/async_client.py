"""The client for asyncio: the methods of `Client`, awaited."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from ..nodes.host.graph.document import Graph
from .connection import Connection, NoAnswer
from .errors import RunError
from .events import Event, Finished, ServerFile, Status
from .following import follow
from .steps import Task, adone, astream
from .tasks import NodeInfos, Tasks


class AsyncClient:
    """A ComfyUI server, for asyncio. Arguments, results and errors are those of `Client`.

    HTTP is the standard library's, each exchange in a thread, so one that is under way when its task is cancelled is
    finished first: it is known then what the server was told. Waiting and the websocket take no thread.
    """

    def __init__(self, url: str, timeout: float = 60.0):
        self._connection = Connection(url, timeout)
        self._tasks = Tasks(self._connection)

    def infos(self) -> NodeInfos:
        """As `Client.infos`; each look into it may ask the server and blocks, so look from another thread."""
        return NodeInfos(self._connection)

    async def prepare(
        self, source: Path | str | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
    ) -> Graph:
        """As `Client.prepare`."""
        return await adone(self._tasks.prepare(source, overrides or {}), self._connection)

    async def upload(self, path: Path | str, subfolder: str = "") -> str:
        """As `Client.upload`."""
        return await adone(self._tasks.upload(path, subfolder), self._connection)

    async def queue(
        self, prompt: Mapping[str, Any], workflow: Mapping[str, Any] | None = None, prompt_id: str | None = None
    ) -> str:
        """As `Client.queue`."""
        return await adone(self._tasks.queue(prompt, workflow, prompt_id), self._connection)

    async def status(self, prompt_id: str) -> Status:
        """As `Client.status`."""
        return await adone(self._tasks.status(prompt_id), self._connection)

    def events(self, prompt_id: str, limit: float | None = None) -> AsyncGenerator[Event, None]:
        """As `Client.events`, for `async for`."""
        return astream(follow(self._tasks, prompt_id, limit=limit), self._connection)

    async def wait(
        self, prompt_id: str, progress: Callable[[Event], None] | None = None, limit: float | None = None
    ) -> list[ServerFile]:
        """As `Client.wait`; `progress` is called in the event loop."""
        return await self._files(follow(self._tasks, prompt_id, limit=limit), progress)

    async def outputs(self, prompt_id: str) -> list[ServerFile]:
        """As `Client.outputs`."""
        return await adone(self._tasks.outputs(prompt_id), self._connection)

    async def cancel(self, prompt_id: str) -> bool:
        """As `Client.cancel`."""
        return await adone(self._tasks.cancel(prompt_id), self._connection)

    async def fetch(self, file: ServerFile, folder: Path | str) -> Path:
        """As `Client.fetch`."""
        return await adone(self._tasks.fetch(file, folder), self._connection)

    async def run(
        self,
        graph: Graph,
        output: Path | str = "output",
        input: Path | str = "input",
        progress: Callable[[Event], None] | None = None,
        prompt_id: str | None = None,
    ) -> list[Path]:
        """As `Client.run`; cancelling the task cancels the graph."""
        prompt_id = prompt_id or str(uuid.uuid4())
        graph = await adone(self._tasks.with_uploads(graph, Path(input)), self._connection)
        begin = self._tasks.queue(graph.prompt, graph.workflow, prompt_id)
        try:
            files = await self._files(follow(self._tasks, prompt_id, begin), progress)
        except (RunError, NoAnswer):
            raise
        except BaseException:
            await adone(self._tasks.give_up(prompt_id), self._connection)
            raise
        return [await self.fetch(file, output) for file in files if file.type == "output"]

    async def _files(self, task: Task[None], progress: Callable[[Event], None] | None) -> list[ServerFile]:
        files: tuple[ServerFile, ...] = ()
        async with aclosing(astream(task, self._connection)) as events:
            async for event in events:
                if progress is not None:
                    progress(event)
                if isinstance(event, Finished):
                    files = event.files
        return list(files)
