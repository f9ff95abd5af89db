"""A ComfyUI server as far as its frontend needs one to open workflows: static files, settings, nodes, a websocket."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PACK = "comfyui-ltx2"
WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455
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
    "/global_subgraphs": {},
    "/experiment/models": [],
    "/workflow_templates": {},
    "/embeddings": [],
    "/userdata/comfy.templates.json": [],
    "/internal/folder_paths": {},
}


class Server(ThreadingHTTPServer):
    """Serves `static` (the frontend), the pack's `web` folder, `inputs`, `object_info` and `settings`."""

    daemon_threads = True

    def __init__(self, static: Path, web: Path, inputs: Path, object_info: Mapping[str, Any]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.static, self.web, self.inputs = static, web, inputs
        self.settings: dict[str, Any] = {
            "Comfy.TutorialCompleted": True,
            "Comfy.Workflow.ShowMissingModelsWarning": False,
        }
        scripts = [f"/extensions/{PACK}/{path.relative_to(web).as_posix()}" for path in sorted(web.rglob("*.js"))]
        self.answers = {**EMPTY, "/object_info": object_info, "/extensions": scripts}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def file(self, path: str) -> Path | None:
        own = f"/extensions/{PACK}/"
        folder, name = (self.web, path.removeprefix(own)) if path.startswith(own) else (self.static, path.lstrip("/"))
        file = (folder / (name or "index.html")).resolve()
        return file if file.is_file() and file.is_relative_to(folder.resolve()) else None


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
            given = self.server.inputs / Path(parse_qs(address.query)["filename"][0]).name
            return self._answer(200, given.read_bytes(), mimetypes.guess_type(given.name)[0] or "")
        file = self.server.file(path)
        if file is not None:
            kind = "text/javascript" if file.suffix == ".js" else mimetypes.guess_type(file.name)[0]
            return self._answer(200, file.read_bytes(), kind or "application/octet-stream")
        if path.endswith(".css"):
            return self._answer(200, b"", "text/css")
        return self._answer(404, b"{}", "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._json({})

    do_PUT = do_DELETE = do_POST

    def log_message(self, *_: Any) -> None:
        """Silent: pytest's output is for tests."""

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
        data = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "test"}
        text = json.dumps({"type": "status", "data": data}).encode()
        assert len(text) < 126, "longer texts need a longer header"
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.wfile.flush()
        while self.connection.recv(4096):
            pass
        self.close_connection = True


@contextmanager
def serve(static: Path, web: Path, inputs: Path, object_info: Mapping[str, Any]) -> Iterator[Server]:
    """Run a server on a free port of this machine."""
    with Server(static, web, inputs, object_info) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
