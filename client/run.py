"""The call that runs a graph, on a server or in this process: `run`, and `arun` for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .async_client import AsyncClient
from .client import Client
from .events import Event
from .here import run_here


def run(
    graph: Path | str | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    server: Client | str | None = None,
    output: Path | str = "output",
    input: Path | str = "input",
    models: Path | str = "models",
    progress: Callable[[Event], None] | None = None,
) -> list[Path]:
    """Run a graph, on a server or, without one, in this process.

    Args:
        graph: a UI or API graph: a file or its content.
        overrides: {"title.input": value}; a node's id serves as its title.
        server: a Client or an address.
        output: the folder for what the graph saves, here.
        input: the folder, here, of the files that it reads. A server's own input folder has what is not there.
        models: for a run in this process: a folder in ComfyUI's layout.
        progress: called with each event; a run in this process shows lines on stderr, too, and `arun` without a server
            calls it from the thread that computes.

    Returns:
        The saved files.

    Raises:
        LTX2Error: whatever is wrong with the graph, the overrides or the server; see Client.
    """
    if server is None:
        return run_here(graph, overrides or {}, Path(output), Path(input), Path(models), progress)
    client = server if isinstance(server, Client) else Client(server)
    return client.run(client.prepare(graph, overrides), output, input, progress)


async def arun(
    graph: Path | str | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    server: AsyncClient | str | None = None,
    output: Path | str = "output",
    input: Path | str = "input",
    models: Path | str = "models",
    progress: Callable[[Event], None] | None = None,
) -> list[Path]:
    """`run` for asyncio. Cancelling its task cancels the graph, on the server or here at its next step."""
    if server is not None:
        client = server if isinstance(server, AsyncClient) else AsyncClient(server)
        return await client.run(await client.prepare(graph, overrides), output, input, progress)
    from ..nodes.host.headless.cancellation import Cancellation, Interrupted

    cancellation = Cancellation()
    folders = Path(output), Path(input), Path(models)

    def work() -> list[Path]:
        try:
            return run_here(graph, overrides or {}, *folders, progress, cancellation)
        except Interrupted:  # of this thread only: an event loop would end at it
            return []

    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        cancellation.request()
        await asyncio.wait([thread])
        raise
