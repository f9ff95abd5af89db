"""A ComfyUI server as far as its frontend needs one: static files, settings, nodes, templates, blueprints, a websocket.

With a runner it runs what is queued; without one it takes every graph and runs none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PACK = "comfyui-ltx2"
TEXT, BINARY = 1, 2  # kinds of websocket frames
SIZES = [(126, ">B", ()), (1 << 16, ">BH", (126,)), (1 << 63, ">BQ", (127,))]
WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455
MODEL_FOLDERS = ("checkpoints", "diffusion_models", "latent_upscale_models", "loras", "text_encoders", "vae")
# What the frontend asks for at its start besides the nodes; nothing of it matters to a workflow.
EMPTY = {
    "/users": {"storage": "server", "migrated": True},
    "/features": {},
    "/system_stats": {"system": {"comfyui_version": "0.33.0", "argv": []}, "devices": []},
    "/i18n": {},
    "/queue": {"queue_running": [], "queue_pending": []},
    "/jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 200, "total": 0, "has_more": False}},
    "/history": {},
    "/userdata": [],
    "/v2/userdata": [],
    "/experiment/models": [{"name": name, "folders": [f"/models/{name}"]} for name in MODEL_FOLDERS],
    "/embeddings": [],
    "/userdata/comfy.templates.json": [],
    **{f"/experiment/models/{name}": [] for name in MODEL_FOLDERS},
    "/internal/folder_paths": {name: [f"/models/{name}"] for name in MODEL_FOLDERS},
    "/templates/index.json": [],
    "/templates/index_logo.json": {},
}


class Server(ThreadingHTTPServer):
    """Serves `static` (the frontend), the pack's web files, `folders` (input, output, temp), `object_info`, `settings`.

    `send` and `send_bytes` reach every browser that is connected.
    """

    daemon_threads = True

    def __init__(
        self,
        static: Path,
        pack: Path,
        folders: Mapping[str, Path],
        object_info: Mapping[str, Any],
        queue: Callable[[Mapping[str, Any]], tuple[int, Any]] = lambda _: (200, {}),
    ):
        super().__init__(("127.0.0.1", 0), Handler)
        self.static, self.pack, self.folders, self.queue = static, pack, folders, queue
        self.sockets: list[Socket] = []
        web = pack / "web"
        self.settings: dict[str, Any] = {
            "Comfy.TutorialCompleted": True,
            "Comfy.Workflow.ShowMissingModelsWarning": False,
        }
        scripts = [f"/extensions/{PACK}/{path.relative_to(web).as_posix()}" for path in sorted(web.rglob("*.js"))]
        workflows = sorted(path.stem for path in (pack / "workflows").glob("*.json"))
        own = {"/extensions": scripts, "/workflow_templates": {PACK: workflows}, **blueprints(pack / "subgraphs")}
        self.answers: dict[str, Any] = {**EMPTY, "/object_info": object_info, **own}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def file(self, path: str) -> Path | None:
        """The frontend's file at this path, or the pack's."""
        own = {f"/extensions/{PACK}/": "web", f"/api/workflow_templates/{PACK}/": "workflows"}
        for start, name in own.items():
            if path.startswith(start):
                return within(self.pack / name, path.removeprefix(start))
        return within(self.static, path.lstrip("/") or "index.html")

    def send(self, kind: str, data: Any) -> None:
        self._send(TEXT, json.dumps({"type": kind, "data": data}).encode())

    def send_bytes(self, data: bytes) -> None:
        self._send(BINARY, data)

    def _send(self, kind: int, data: bytes) -> None:
        for socket in list(self.sockets):
            socket.send(kind, data)


def blueprints(folder: Path) -> dict[str, Any]:
    """ComfyUI's answers about the pack's blueprints: their list, and each of them."""
    info = {"source": "custom_node", "info": {"node_pack": f"custom_nodes.{PACK}"}}
    listed = {f"id{number}": path for number, path in enumerate(sorted(folder.glob("*.json")))}
    entries = {id: {"name": path.stem, **info} for id, path in listed.items()}
    each = {f"/global_subgraphs/{id}": {**entries[id], "data": path.read_text()} for id, path in listed.items()}
    return {"/global_subgraphs": entries, **each}


def within(folder: Path, name: str) -> Path | None:
    file = (folder / name).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None


@dataclass(eq=False)
class Socket:
    """The server's end of one websocket (RFC 6455); frames are never split."""

    handler: Handler
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, kind: int, data: bytes) -> None:
        number = len(data)  # in one byte, two or eight: as few as will do
        form, mark = next((f, m) for limit, f, m in SIZES if number < limit)
        size = struct.pack(form, *mark, number)
        with self.lock, suppress(OSError):  # the browser may have left
            self.handler.wfile.write(bytes([0x80 | kind]) + size + data)
            self.handler.wfile.flush()


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path == "/ws":
            return self._websocket()
        route = path.removeprefix("/api")
        if route == "/settings":
            return self._json(self.server.settings)
        if route in self.server.answers:
            return self._json(self.server.answers[route])
        if route == "/view":
            return self._view({name: values[0] for name, values in parse_qs(address.query).items()})
        file = self.server.file(path)
        if file is not None:
            kind = "text/javascript" if file.suffix == ".js" else mimetypes.guess_type(file.name)[0]
            return self._answer(200, file.read_bytes(), kind or "application/octet-stream")
        if path.endswith(".css"):
            return self._answer(200, b"", "text/css")
        return self._answer(404, b"{}", "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.removeprefix("/api") == "/prompt":
            status, answer = self.server.queue(json.loads(body))
            return self._answer(status, json.dumps(answer).encode(), "application/json")
        return self._json({})

    do_PUT = do_DELETE = do_POST

    def log_message(self, *_: Any) -> None:
        """Silent: pytest's output is for tests."""

    def _view(self, query: Mapping[str, str]) -> None:
        """A file of the input, output or temp folder."""
        folder = self.server.folders[query.get("type", "output")]
        file = within(folder / query.get("subfolder", ""), query["filename"])
        if file is None:
            return self._answer(404, b"{}", "application/json")
        return self._answer(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "")

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _websocket(self) -> None:
        """Say who the browser is and that the queue is empty, then stay until it leaves."""
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + WEBSOCKET_KEY).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        socket = Socket(self)
        hello = {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "test"}}
        socket.send(TEXT, json.dumps(hello).encode())
        self.server.sockets.append(socket)
        while self.connection.recv(4096):
            pass
        self.server.sockets.remove(socket)
        self.close_connection = True


@contextmanager
def serve(*args: Any, **options: Any) -> Iterator[Server]:
    """Run a server on a free port of this machine; arguments are Server's."""
    with Server(*args, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
