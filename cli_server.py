"""`ltx2 run --server` and `ltx2 batch`: graphs on a ComfyUI server, and what is shown of them meanwhile."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TextIO

from .cli import changed, default_models, path_of, read_named, require_one_output
from .client import Client, Event, LTX2Error, NodeProgress, NodeStarted, RowResult, Status, batch

REPORT_SECONDS = 10.0  # between steps where the stream is no terminal


def run_on_server(output: Path, arguments: argparse.Namespace) -> list[Path]:
    """Run the graph with `output` as the output folder; the files that it saved."""
    _require_none_of_ours(arguments)
    client = Client(arguments.server)
    graph = changed(read_named(arguments.graph, client), arguments, client)
    if arguments.file is not None:
        infos, prompt = client.infos(), graph.prompt
        classes = {id: infos.get(node.get("class_type", "")) for id, node in prompt.items()}
        require_one_output([id for id, info in classes.items() if info is not None and info.is_output_node])
    return client.run(graph, output, arguments.input, Lines(arguments.server).show)


def run_batch(arguments: argparse.Namespace) -> bool:
    """Run a graph for each row; prints the files of each that is done. Whether a row failed."""
    if arguments.server is not None:
        _require_none_of_ours(arguments)

    def show(result: RowResult) -> None:
        for name in result.outputs:
            print(arguments.output / name, flush=True)
        text = f": {result.error}" if result.error else f"  {result.seconds:.1f} s"
        print(f"row {result.row} {result.status}{text}", file=sys.stderr)

    options = {} if arguments.server is not None else {"models": arguments.models, "device": arguments.device}
    results = batch(
        path_of(arguments.graph),
        arguments.rows,
        server=arguments.server,
        output=arguments.output,
        input=arguments.input,
        in_flight=arguments.in_flight,
        progress=show,
        **options,
    )
    failed = sum(result.status == "failed" for result in results)
    print(f"{len(results) - failed} of {len(results)} rows are done", file=sys.stderr)
    return failed > 0


def _require_none_of_ours(arguments: argparse.Namespace) -> None:
    is_metadata_set = getattr(arguments, "disable_metadata", False)
    if arguments.models != default_models() or arguments.device != "auto" or is_metadata_set:
        raise LTX2Error(
            "with --server, models, device and metadata are the server's; got --models, --device or "
            "--disable-metadata; leave them out"
        )


class Lines:
    """Shows what happens to a graph: its place in the queue, and a line for each node with its steps."""

    def __init__(self, server: str, stream: TextIO | None = None):
        self._server, self._stream = server, sys.stderr if stream is None else stream
        self._is_terminal, self._is_line_open, self._next_report = self._stream.isatty(), False, 0.0

    def show(self, event: Event) -> None:
        if isinstance(event, Status):
            self._line(f"{self._server}: {event.state}" + (f", {event.ahead} ahead" if event.ahead else ""))
        elif isinstance(event, NodeStarted):
            self._line(f"    {event.title}")
            self._next_report = time.monotonic() + REPORT_SECONDS
        elif isinstance(event, NodeProgress):
            self._steps(f"    {event.title}  {event.value:g}/{event.maximum:g}")

    def _line(self, text: str) -> None:
        self._stream.write(("\n" if self._is_line_open else "") + f"{text}\n")
        self._is_line_open = False
        self._stream.flush()

    def _steps(self, text: str) -> None:
        """A line that the next one overwrites; no terminal gets one now and then."""
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._is_line_open = True
            self._stream.flush()
        elif time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + REPORT_SECONDS
            self._line(text)
