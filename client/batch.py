"""A graph run for each row of a table of overrides: resumable, several at a time on a server, told in a manifest."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..ltx2.errors import LTX2Error
from ..nodes.host.graph.document import Graph
from ..nodes.host.graph.schemas import NodeInfo
from .async_client import AsyncClient
from .connection import NoAnswer
from .errors import RunError
from .graphs import changed, uploads, with_overrides
from .manifest import Manifest, RowResult
from .rows import Row, key_of, read_rows

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Job:
    """What a batch is asked for; see `batch`."""

    graph: Path | str | Mapping[str, Any]
    rows: Path | str | Iterable[Mapping[str, Any]]
    output: Path
    input: Path
    progress: Callable[[RowResult], None] | None

    def read_rows(self) -> list[Row]:
        if isinstance(self.rows, Path | str):
            return read_rows(Path(self.rows))
        return [Row(number, overrides) for number, overrides in enumerate(self.rows, start=1)]


def batch(
    graph: Path | str | Mapping[str, Any],
    rows: Path | str | Iterable[Mapping[str, Any]],
    *,
    server: AsyncClient | str | None = None,
    output: Path | str = "output",
    input: Path | str = "input",
    models: Path | str = "models",
    device: str = "auto",
    in_flight: int = 1,
    progress: Callable[[RowResult], None] | None = None,
) -> list[RowResult]:
    """Run a graph for each row of overrides, on a server or, without one, in this process.

    `output` gets the files and manifest.jsonl. A row that fails does not stop the others. Called again, only what is
    not done is done: rows that failed or were cancelled, new and changed ones, and those whose files have gone; what a
    server still has in its queue is waited for. A row is known by what it computes, not by its place.

    Args:
        graph, server, output, input, models: as for `run`.
        rows: a CSV or JSONL file (see `read_rows`), or {"title.input": value} for each row.
        device: for runs in this process: "auto", "cpu", "cuda" or "cuda:N".
        in_flight: how many rows a server has in its queue at a time.
        progress: called with each row that is done or failed.

    Returns:
        The last result of every row, in order.

    Raises:
        LTX2Error: a row that names what the graph does not have; then nothing has run. Called on a server from within
            an event loop, as notebooks run one.
        NoAnswer: the server has gone; called again, the batch goes on.
        KeyboardInterrupt: after Ctrl-C, with what was running cancelled, here and on the server.
    """
    job = Job(graph, rows, Path(output), Path(input), progress)
    if server is not None:
        _check_no_loop_runs()
        return asyncio.run(_on_server(job, server, in_flight))
    if in_flight != 1:
        raise LTX2Error(
            f"in this process rows run one by one; got in_flight {in_flight}; name a server, or leave it out"
        )
    return _here(job, Path(models), device)


def _check_no_loop_runs() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LTX2Error("batch must be called where no event loop runs; one does (in a notebook, say): await abatch(...)")


async def abatch(
    graph: Path | str | Mapping[str, Any],
    rows: Path | str | Iterable[Mapping[str, Any]],
    *,
    server: AsyncClient | str,
    output: Path | str = "output",
    input: Path | str = "input",
    in_flight: int = 1,
    progress: Callable[[RowResult], None] | None = None,
) -> list[RowResult]:
    """`batch` on a server, for asyncio. Cancelling its task cancels what is in flight."""
    return await _on_server(Job(graph, rows, Path(output), Path(input), progress), server, in_flight)


class _Batch:
    """A job whose rows are known to fit the graph, and what the manifest knows of them."""

    def __init__(self, job: Job, infos: Mapping[str, NodeInfo]):
        self.job, self._infos = job, infos
        self._base = changed(job.graph, {}, infos)
        rows, seen = job.read_rows(), Counter[str]()
        self.results: list[RowResult] = []
        for row in rows:  # all of them, before the first runs
            try:
                graph = self.graph(row.overrides)
            except LTX2Error as error:
                raise LTX2Error(f"row {row.number}: {error}") from error
            key = key_of(graph, uploads(graph, job.input, infos))
            seen[key] += 1  # equal rows are told apart by counting them
            key = key if seen[key] == 1 else f"{key}-{seen[key]}"
            self.results.append(RowResult(row.number, key, "queued", None, row.overrides))
        self.manifest = Manifest(job.output / MANIFEST)

    def graph(self, overrides: Mapping[str, Any]) -> Graph:
        return with_overrides(self._base, overrides, self._infos)

    def open_rows(self) -> Iterator[RowResult]:
        """The rows that are to run, each with the id under which a server may know it."""
        for index, row in enumerate(self.results):
            last = self.manifest.last(row.key)
            if last is None:
                yield row
            elif last.status == "done" and all((self.job.output / name).is_file() for name in last.outputs):
                self.results[index] = replace(last, row=row.row)
                if last.row != row.row:
                    self.manifest.write(self.results[index])
            else:
                yield replace(row, prompt_id=last.prompt_id if last.status == "queued" else None)

    def write(self, result: RowResult) -> None:
        self.manifest.write(result)
        self.results[result.row - 1] = result
        if self.job.progress is not None and result.status in ("done", "failed"):
            self.job.progress(result)

    def ended(self, row: RowResult, started: float, **changes: Any) -> None:
        self.write(replace(row, seconds=round(time.monotonic() - started, 3), **changes))

    def names(self, files: Iterable[Path]) -> tuple[str, ...]:
        return tuple(file.relative_to(self.job.output).as_posix() for file in files)


async def _on_server(job: Job, server: AsyncClient | str, in_flight: int) -> list[RowResult]:
    if in_flight < 1:
        raise LTX2Error(f"in_flight must be at least 1; got {in_flight}; rows then run one by one")
    client = server if isinstance(server, AsyncClient) else AsyncClient(server)
    batch = await asyncio.to_thread(_Batch, job, client.infos())
    with closing(batch.manifest):
        waiting, gone = batch.open_rows(), []

        async def work() -> None:
            for row in waiting:
                if gone:
                    return
                try:
                    await _row(batch, client, row)
                except NoAnswer as error:  # the others would fail as well; in the manifest they are as they were
                    gone.append(error)

        workers = [asyncio.ensure_future(work()) for _ in range(in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:  # after an error of one, the others are not left alone
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    if gone:
        done = sum(result.status == "done" for result in batch.results)
        raise NoAnswer(f"{gone[0]}; {done} of {len(batch.results)} rows are done, run the batch again for the others")
    return batch.results


async def _row(batch: _Batch, client: AsyncClient, row: RowResult) -> None:
    started = time.monotonic()
    if row.prompt_id is None or not await _is_of_use(client, row.prompt_id):
        row = replace(row, prompt_id=str(uuid.uuid4()))
    batch.write(row)  # before the server hears of it, so that it is not queued again whatever happens
    try:
        graph = await asyncio.to_thread(batch.graph, row.overrides)
        files = await client.run(graph, batch.job.output, batch.job.input, prompt_id=row.prompt_id)
    except NoAnswer:
        raise
    except LTX2Error as error:
        batch.ended(row, started, status="failed", error=str(error))
    except asyncio.CancelledError:
        batch.ended(row, started, status="cancelled")
        raise
    else:
        batch.ended(row, started, status="done", outputs=batch.names(files))


async def _is_of_use(client: AsyncClient, prompt_id: str) -> bool:
    """Whether the server still has a graph, to be waited for or with its files."""
    state = (await client.status(prompt_id)).state
    if state != "ended":
        return state != "unknown"
    try:
        await client.outputs(prompt_id)
    except RunError:
        return False
    return True


def _here(job: Job, models: Path, device: str) -> list[RowResult]:
    from ..nodes.host.headless.session import run_graph, saved_files, session

    with session(models, job.input, job.output, device=device) as executor:
        batch = _Batch(job, executor.infos())
        with closing(batch.manifest):
            for row in batch.open_rows():
                started, row = time.monotonic(), replace(row, prompt_id=None)
                batch.write(row)
                try:
                    files = saved_files(run_graph(executor, batch.graph(row.overrides)), job.output)
                except LTX2Error as error:
                    batch.ended(row, started, status="failed", error=str(error))
                except KeyboardInterrupt:
                    batch.ended(row, started, status="cancelled")
                    raise
                else:
                    batch.ended(row, started, status="done", outputs=batch.names(files))
    return batch.results
