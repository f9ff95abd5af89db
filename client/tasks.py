"""What can be asked of a ComfyUI server, as tasks (see steps.py) that blocking and asyncio clients share."""

from __future__ import annotations

import logging
import threading
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ..ltx2.errors import LTX2Error
from ..nodes.host.graph.document import Graph
from ..nodes.host.graph.schemas import NodeInfo
from .connection import Connection, NoAnswer, Refused, pauses
from .errors import node_problems, refusal, require_success
from .events import ServerFile, Status, files_of
from .folders import contained, free_name
from .graphs import changed, uploads
from .steps import Pause, Task, ask

NO_SUCH_ROUTE = (404, 405)


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


@dataclass(frozen=True)
class Look:
    """What a server knows of a graph: where it is, its nodes while it is known, and its history once it has ended."""

    status: Status
    prompt: Mapping[str, Any]
    entry: Mapping[str, Any] | None = None


class Tasks:
    """The tasks of one server. What they do and raise is told by the client's methods of the same names."""

    def __init__(self, connection: Connection):
        self.connection, self._said = connection, set()
        self._naming, self._arriving = threading.Lock(), set()  # two files of one name may come at once

    def say_once(self, text: str) -> None:
        """Log a warning that holds for the server, not for one graph."""
        if text not in self._said:
            self._said.add(text)
            logging.getLogger("ltx2").warning("%s: %s", self.connection.url, text)

    def prepare(self, source: Path | str | Mapping[str, Any], overrides: Mapping[str, Any]) -> Task[Graph]:
        return (yield from ask(lambda: changed(source, overrides, NodeInfos(self.connection))))

    def upload(self, path: Path | str, subfolder: str) -> Task[str]:
        return (yield from ask(lambda: self._upload(Path(path), subfolder)))

    def with_uploads(self, graph: Graph, input: Path) -> Task[Graph]:
        """The graph with the server's names of the files that its upload widgets name; others are the server's own."""
        infos = NodeInfos(self.connection)
        found = yield from ask(partial(uploads, graph, input, infos))
        for node_id, name, file in found:
            subfolder = PurePosixPath(Path(graph.prompt[node_id]["inputs"][name]).parent.as_posix())
            sent = yield from self.upload(file, "" if subfolder == PurePosixPath() else str(subfolder))
            graph = graph.with_value(node_id, name, sent, infos)
        return graph

    def _upload(self, path: Path, subfolder: str) -> str:
        answer = self.connection.upload("/upload/image", path, {"type": "input", "subfolder": subfolder})
        return str(PurePosixPath(answer.get("subfolder") or "", answer["name"]))

    def queue(self, prompt: Mapping[str, Any], workflow: Mapping[str, Any] | None, prompt_id: str | None) -> Task[str]:
        if prompt_id is None:
            prompt_id = str(uuid.uuid4())
        else:
            _require_uuid(prompt_id)
            if (yield from self.status(prompt_id)).state != "unknown":
                return prompt_id
        extra = {} if workflow is None else {"extra_pnginfo": {"workflow": workflow}}
        # A server tells a client of its own graphs only, so a graph that is its own client has a websocket to itself.
        body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": prompt_id, "extra_data": extra}
        try:
            answer = yield from self._queued(body, prompt_id)
        except Refused as error:
            raise LTX2Error(refusal(error, prompt)) from error
        except NoAnswer as error:
            raise NoAnswer(f"{error}; whether it has queued the graph is unknown, its id is {prompt_id}") from error
        if answer.get("node_errors"):  # ComfyUI would leave out the outputs in error and run the others
            yield from self.cancel(prompt_id)
            raise LTX2Error("\n".join(node_problems(answer["node_errors"], prompt)))
        return prompt_id

    def _queued(self, body: Mapping[str, Any], prompt_id: str) -> Task[dict[str, Any]]:
        """The server's answer; an empty one where it was lost and the graph is queued."""
        for pause in pauses():
            try:
                return (yield from self._post("/prompt", body))
            except NoAnswer:
                # The server checks a graph and queues it before it takes up what was asked later, so that one which
                # is unknown by now has not arrived.
                yield Pause(pause)
                if (yield from self.status(prompt_id)).state != "unknown":
                    return {}
        return (yield from self._post("/prompt", body))

    def status(self, prompt_id: str) -> Task[Status]:
        return (yield from self.look(prompt_id)).status

    def look(self, prompt_id: str) -> Task[Look]:
        """All that the server knows of a graph."""
        queue = yield from self._get("/queue")  # before the history: a graph only ever moves from here to there
        running, pending = queue["queue_running"], queue["queue_pending"]
        for item in running:
            if item[1] == prompt_id:
                return Look(Status("running"), item[2])
        for item in pending:
            if item[1] == prompt_id:
                ahead = len(running) + sum(other[0] < item[0] for other in pending)
                return Look(Status("pending", ahead), item[2])
        history = yield from self._get(f"/history/{urllib.parse.quote(prompt_id, safe='')}")
        entry = history.get(prompt_id)
        return Look(Status("unknown"), {}) if entry is None else Look(Status("ended"), entry["prompt"][2], entry)

    def outputs(self, prompt_id: str) -> Task[list[ServerFile]]:
        return ended_files(prompt_id, (yield from self.look(prompt_id)))

    def cancel(self, prompt_id: str) -> Task[bool]:
        before = (yield from self.status(prompt_id)).state
        if before not in ("pending", "running"):
            return False
        yield from self._cancel(prompt_id)
        for pause in pauses():
            # A graph that is only just beginning forgets that it was interrupted, so it is told again.
            state = (yield from self.status(prompt_id)).state
            if state not in ("pending", "running"):
                return before == "running" or state == "unknown"
            yield Pause(pause)
            yield from self._cancel(prompt_id)
        return True

    def give_up(self, prompt_id: str) -> Task[None]:
        """Cancel a graph for which nobody waits any more; where that fails the log says that it may still run."""
        try:
            yield from self.cancel(prompt_id)
        except LTX2Error as error:
            logging.getLogger("ltx2").warning("graph %s may still run: %s", prompt_id, error)

    def _cancel(self, prompt_id: str) -> Task[None]:
        """Each of these does nothing to other graphs: a server checks the id before it interrupts."""
        try:
            # Of ComfyUI 0.26 and newer: there no other graph can begin between the check and the interrupt.
            yield from self._post(f"/api/jobs/{urllib.parse.quote(prompt_id, safe='')}/cancel", {})
        except Refused as error:
            if error.status not in NO_SUCH_ROUTE:
                raise
            yield from self._post("/queue", {"delete": [prompt_id]})
            yield from self._post("/interrupt", {"prompt_id": prompt_id})

    def fetch(self, file: ServerFile, folder: Path | str) -> Task[Path]:
        return (yield from ask(lambda: self._fetch(file, Path(folder))))

    def _fetch(self, file: ServerFile, folder: Path) -> Path:
        from ..ltx2.media.partial_file import partial_file

        path = contained(folder, f"{file.subfolder}/{file.name}" if file.subfolder else file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        query = urllib.parse.urlencode({"filename": file.name, "subfolder": file.subfolder, "type": file.type})
        with self._naming:
            path = free_name(path, self._arriving)
            self._arriving.add(path)
        try:
            with partial_file(path) as temporary, temporary.open("xb") as to:
                self.connection.download(f"/view?{query}", to)
        finally:
            self._arriving.discard(path)
        return path

    def _get(self, path: str) -> Task[Any]:
        return (yield from ask(lambda: self.connection.get(path)))

    def _post(self, path: str, body: Mapping[str, Any]) -> Task[Any]:
        return (yield from ask(lambda: self.connection.post(path, body)))


def ended_files(prompt_id: str, look: Look) -> list[ServerFile]:
    """The files of a graph that has ended; raises as `Client.outputs`."""
    if look.entry is None:
        raise LTX2Error(
            f"the graph must be in the server's history; {prompt_id} is not: it has not ended, was cancelled "
            f"before it began, or the server was restarted since; queue it again"
        )
    require_success(look.entry)
    return files_of(look.entry)


def _require_uuid(prompt_id: str) -> None:
    try:
        is_canonical = str(uuid.UUID(prompt_id)) == prompt_id
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise LTX2Error(f"prompt_id must be a UUID in lower case with hyphens; got '{prompt_id}'; use uuid.uuid4()")
