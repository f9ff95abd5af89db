"""A client of a ComfyUI server, and the call that runs a graph there or in this process."""

from __future__ import annotations

import logging
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..ltx2.errors import LTX2Error
from ..nodes.host.graph.document import Graph, read_graph
from ..nodes.host.graph.schemas import NodeInfo
from ..nodes.host.graph.ui import is_ui_workflow, to_api
from .connection import Connection, NoAnswer, Refused, pauses
from .errors import node_problems, refusal, require_success

FIRST_LOOK, LONGEST_PAUSE = 0.1, 2.0  # seconds between looks at the queue


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


class NodeInfos(Mapping[str, NodeInfo]):
    """The node classes of a server, each asked for when it is needed: a server may have thousands."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._known: dict[str, NodeInfo | None] = {}

    def __getitem__(self, name: str) -> NodeInfo:
        if name not in self._known:
            path = f"/object_info/{urllib.parse.quote(name, safe='')}"
            entry = self._connection.get(path).get(name) if name else None
            self._known[name] = None if entry is None else NodeInfo.from_object_info(entry)
        info = self._known[name]
        if info is None:
            raise KeyError(name)
        return info

    def __iter__(self) -> Iterator[str]:
        return iter(self._connection.get("/object_info"))

    def __len__(self) -> int:
        return len(self._connection.get("/object_info"))


class Client:
    """A ComfyUI server, asked over HTTP. It holds nothing open: use it from any thread, and forget it.

    Args:
        url: "http://host:8188"; "host:8188" is taken for http.
        timeout: seconds without a byte after which an answer counts as lost; no limit on how long a graph runs.

    Every method raises LTX2Error when the server does not answer or answers with an error.
    """

    def __init__(self, url: str, timeout: float = 60.0):
        self._connection = Connection(url, timeout)

    def infos(self) -> NodeInfos:
        """The server's node classes; read afresh, as combo boxes list files."""
        return NodeInfos(self._connection)

    def upload(self, path: Path | str, subfolder: str = "") -> str:
        """Send a file into the server's input folder.

        Returns:
            Its name there, as Load Image takes it: another than its own where a different file has that already.
        """
        fields = {"type": "input", "subfolder": subfolder}
        answer = self._connection.upload("/upload/image", Path(path), fields)
        return str(PurePosixPath(answer.get("subfolder") or "", answer["name"]))

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
        if prompt_id is None:
            prompt_id = str(uuid.uuid4())
        else:
            _require_uuid(prompt_id)
            if self.status(prompt_id).state != "unknown":
                return prompt_id
        extra = {} if workflow is None else {"extra_pnginfo": {"workflow": workflow}}
        body = {"prompt": prompt, "prompt_id": prompt_id, "extra_data": extra}
        try:
            answer = self._queued(body, prompt_id)
        except Refused as error:
            raise LTX2Error(refusal(error, prompt)) from error
        except NoAnswer as error:
            raise NoAnswer(f"{error}; whether it has queued the graph is unknown, its id is {prompt_id}") from error
        if answer.get("node_errors"):  # ComfyUI would leave out the outputs in error and run the others
            self.cancel(prompt_id)
            raise LTX2Error("\n".join(node_problems(answer["node_errors"], prompt)))
        return prompt_id

    def _queued(self, body: Mapping[str, Any], prompt_id: str) -> dict[str, Any]:
        """The server's answer; an empty one where it was lost and the graph is queued."""
        for pause in pauses():
            try:
                return self._connection.post("/prompt", body)
            except NoAnswer:
                # The server checks a graph and queues it before it takes up what was asked later, so that one which
                # is unknown by now has not arrived.
                time.sleep(pause)
                if self.status(prompt_id).state != "unknown":
                    return {}
        return self._connection.post("/prompt", body)

    def status(self, prompt_id: str) -> Status:
        """Where the graph is now."""
        queue = self._connection.get("/queue")  # before the history: a graph only ever moves from here to there
        running = [item[1] for item in queue["queue_running"]]
        if prompt_id in running:
            return Status("running")
        number = next((item[0] for item in queue["queue_pending"] if item[1] == prompt_id), None)
        if number is not None:
            return Status("pending", len(running) + sum(item[0] < number for item in queue["queue_pending"]))
        return Status("unknown" if self._entry(prompt_id) is None else "ended")

    def wait(
        self, prompt_id: str, progress: Callable[[Status], None] | None = None, limit: float | None = None
    ) -> list[ServerFile]:
        """Wait until the graph has ended; looks ever more rarely, at least every two seconds.

        Args:
            prompt_id: the graph's.
            progress: called with each look's result; what it raises ends the waiting, not the graph.
            limit: seconds; the graph runs on after them. None waits as long as it takes.

        Returns:
            Its files.

        Raises:
            RunError: a node failed, or the graph was cancelled.
            LTX2Error: the server does not know the graph, or `limit` has passed.
            NoAnswer: the server has gone; the graph may go on, so that waiting again may succeed.
        """
        end, pause = None if limit is None else time.monotonic() + limit, FIRST_LOOK
        while True:
            try:
                status = self.status(prompt_id)
            except NoAnswer as error:
                raise NoAnswer(f"{error}; graph {prompt_id} may go on there, and can be waited for again") from error
            if progress is not None:
                progress(status)
            if status.state in ("ended", "unknown"):
                return self.outputs(prompt_id)
            if end is not None and time.monotonic() >= end:
                raise LTX2Error(f"the graph must end within {limit:g} s; {prompt_id} is still {status.state}; wait on")
            time.sleep(pause if end is None else max(0.0, min(pause, end - time.monotonic())))
            pause = min(1.5 * pause, LONGEST_PAUSE)

    def outputs(self, prompt_id: str) -> list[ServerFile]:
        """The files of a graph that has ended.

        Raises:
            RunError: a node failed, or the graph was cancelled.
            LTX2Error: the server has no such graph in its history.
        """
        entry = self._entry(prompt_id)
        if entry is None:
            raise LTX2Error(
                f"the graph must be in the server's history; {prompt_id} is not: it has not ended, was cancelled "
                f"before it began, or the server was restarted since; queue it again"
            )
        require_success(entry)
        lists = [items for ui in entry["outputs"].values() for items in ui.values() if isinstance(items, list)]
        listed = [item for items in lists for item in items if isinstance(item, dict) and "filename" in item]
        files = [ServerFile(item["filename"], item.get("subfolder", ""), item.get("type", "output")) for item in listed]
        return list(dict.fromkeys(files))

    def cancel(self, prompt_id: str) -> bool:
        """Take the graph from the queue, or stop it where it runs; other graphs go on.

        Returns:
            False where there was nothing to cancel. A running graph stops at its next step, which `wait` shows.
        """
        was_pending = self.status(prompt_id).state == "pending"
        if was_pending:
            self._connection.post("/queue", {"delete": [prompt_id]})
        state = self.status(prompt_id).state  # it may have begun meanwhile
        if state != "running":
            return was_pending and state == "unknown"
        self._connection.post("/interrupt", {"prompt_id": prompt_id})
        for pause in pauses():
            # A graph that is only just beginning forgets an interrupt, so it is told again.
            time.sleep(pause)
            if self.status(prompt_id).state != "running":
                break
            self._connection.post("/interrupt", {"prompt_id": prompt_id})
        return True

    def fetch(self, file: ServerFile, folder: Path | str) -> Path:
        """Download a file of a graph into `folder`, in its sub-folder there; it appears when it is complete.

        Returns:
            Its path; "clip (2).mp4" where there is a clip.mp4, which is kept.

        Raises:
            LTX2Error: a name that leads out of `folder`, or a file that cannot be written.
        """
        from ..ltx2.media.partial_file import partial_file

        path = _contained(Path(folder), f"{file.subfolder}/{file.name}" if file.subfolder else file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        query = urllib.parse.urlencode({"filename": file.name, "subfolder": file.subfolder, "type": file.type})
        path = _free(path)
        with partial_file(path) as temporary, temporary.open("xb") as to:
            self._connection.download(f"/view?{query}", to)
        return path

    def run(
        self, graph: Graph, output: Path, input: Path, progress: Callable[[Status], None] | None = None
    ) -> list[Path]:
        """Upload what the graph reads from `input`, run it, and fetch what it saves into `output`.

        Ctrl-C cancels the graph on the server too.
        """
        graph = self._with_uploads(graph, input)
        prompt_id = str(uuid.uuid4())
        try:
            files = self.wait(self.queue(graph.prompt, graph.workflow, prompt_id), progress)
        except KeyboardInterrupt:
            try:
                self.cancel(prompt_id)
            except LTX2Error as error:
                logging.getLogger("ltx2").warning("graph %s may still run: %s", prompt_id, error)
            raise
        return [self.fetch(file, output) for file in files if file.type == "output"]

    def _with_uploads(self, graph: Graph, input: Path) -> Graph:
        """The graph with the server's names of the files that its upload widgets name; others are the server's own."""
        infos = self.infos()
        for node_id, node in graph.prompt.items():
            info = infos.get(node.get("class_type", ""))
            name = info.upload_input if info else None
            value = node["inputs"].get(name) if name else None
            if name and isinstance(value, str) and value and _is_within(input, value) and (input / value).is_file():
                subfolder = PurePosixPath(Path(value).parent.as_posix())
                sent = self.upload(input / value, "" if subfolder == PurePosixPath() else str(subfolder))
                graph = graph.with_value(node_id, name, sent, infos)
        return graph

    def _entry(self, prompt_id: str) -> dict[str, Any] | None:
        return self._connection.get(f"/history/{urllib.parse.quote(prompt_id, safe='')}").get(prompt_id)


def run(
    graph: Path | str | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    server: Client | str | None = None,
    output: Path | str = "output",
    input: Path | str = "input",
    models: Path | str = "models",
    progress: Callable[[Status], None] | None = None,
) -> list[Path]:
    """Run a graph, on a server or, without one, in this process.

    Args:
        graph: a UI or API graph: a file or its content.
        overrides: {"title.input": value}; a node's id serves as its title.
        server: a Client or an address.
        output: the folder for what the graph saves, here.
        input: the folder, here, of the files that it reads. A server's own input folder has what is not there.
        models: for a run in this process: a folder in ComfyUI's layout.
        progress: for a run on a server: called with each look at its queue.

    Returns:
        The saved files.

    Raises:
        LTX2Error: whatever is wrong with the graph, the overrides or the server; see Client.
    """
    output, input = Path(output), Path(input)
    if server is not None:
        client = server if isinstance(server, Client) else Client(server)
        return client.run(_changed(graph, overrides or {}, client.infos()), output, input, progress)
    from ..nodes.host.headless.session import run_graph, saved_files, session

    with session(Path(models), input, output) as executor:
        changed = _changed(graph, overrides or {}, executor.infos())
        return saved_files(run_graph(executor, changed), output)


def _changed(source: Path | str | Mapping[str, Any], overrides: Mapping[str, Any], infos: Mapping) -> Graph:
    if isinstance(source, Mapping):
        is_ui = is_ui_workflow(source)
        graph = Graph(to_api(source, infos), dict(source)) if is_ui else Graph(dict(source), None)
    else:
        graph = read_graph(Path(source), infos)
    for target, value in overrides.items():
        node, dot, name = target.rpartition(".")
        if not dot:
            raise LTX2Error(f"an override is named TITLE.INPUT; got '{target}'; write for example 'Canvas.width'")
        node_id = graph.find(node, infos)
        class_type = graph.prompt[node_id].get("class_type")
        if class_type not in infos:
            raise LTX2Error(f"node classes must be installed where the graph runs; '{class_type}' is not; install it")
        graph = graph.with_value(node_id, name, value, infos)
    return graph


def _require_uuid(prompt_id: str) -> None:
    try:
        is_canonical = str(uuid.UUID(prompt_id)) == prompt_id
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise LTX2Error(f"prompt_id must be a UUID in lower case with hyphens; got '{prompt_id}'; use uuid.uuid4()")


def _contained(folder: Path, name: str) -> Path:
    if "\\" in name or not _is_within(folder, name):
        raise LTX2Error(f"a server's files must be named within {folder}; got '{name}'; check what the server is")
    return folder / name


def _is_within(folder: Path, name: str) -> bool:
    """Whether `name` leads to a place below `folder`, links followed."""
    root, path = folder.resolve(), (folder / name).resolve()
    return path != root and path.is_relative_to(root)


def _free(path: Path) -> Path:
    """`path`, or where that exists the first of "clip (2).mp4", "clip (3).mp4" that does not."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return free
