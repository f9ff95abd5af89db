"""A ComfyUI of three node classes: Text (text, size 8 to 64), Picture (a file to upload) and Save, an output node.

Text fails on "broken" and does three steps with a preview each; one that ran before is cached. A graph begins when
`gate` is set, and may then be interrupted before its first node.
"""

from __future__ import annotations

import email.parser
import json
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from small_socket import SmallSocket

NAMES = {"Text": "Write", "Picture": "Picture", "Save": "Save"}
INPUTS = {
    "Text": {"text": ["STRING", {}], "size": ["INT", {"min": 8, "max": 64, "default": 8}]},
    "Picture": {"image": [["example.png"], {"image_upload": True}]},
    "Save": {"text": ["STRING", {}], "prefix": ["STRING", {"default": "clips/text"}]},
}
STEPS, PICTURE = 3, b"\xff\xd8\xff picture"
OBJECT_INFO = {
    name: {
        "name": name,
        "display_name": NAMES[name],
        "input": {"required": inputs},
        "output": [] if name == "Save" else ["STRING"],
        "output_node": name == "Save",
    }
    for name, inputs in INPUTS.items()
}


class SmallServer:
    """`faults` are what goes wrong with the next POSTs of graphs and GETs of files: "lose the answer", "lose the
    request", "bad gateway", "cut the file". `posts` are the ids of the graphs that arrived, `cancels` the addresses of
    requests to cancel. `websockets` is "taken", "refused" or "unheard" (taken, and then nothing is sent); `sockets` are
    those of each client, the last one being told. Nothing is answered while it `is_away`. ComfyUI has jobs since 0.26
    (`has_jobs`)."""

    def __init__(self, folder: Path):
        self.folder, self.faults, self.posts, self.interrupts = folder, [], [], 0
        self.pending, self.running, self.history = [], [], {}
        self.websockets, self.sockets, self.has_jobs, self.cancels, self._cached = "taken", {}, True, [], set()
        self._saved, self._is_restarted, self.is_away = 0, False, False
        self.gate, self._lock, self._stop = threading.Event(), threading.Lock(), threading.Event()
        self.gate.set()
        for name in ("input", "output"):
            (folder / name).mkdir(parents=True)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"comfy": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        serve = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._threads = [serve, threading.Thread(target=self._work)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self.drop()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join()

    def queue(self, body: dict) -> tuple[int, dict]:
        self.posts.append(body["prompt_id"])
        errors = {id: found for id, node in body["prompt"].items() if (found := self._check(id, node))}
        outputs = [id for id, node in body["prompt"].items() if node["class_type"] == "Save"]
        report = {id: {"errors": [error], "class_type": "", "dependent_outputs": []} for id, error in errors.items()}
        good = [id for id in outputs if not {id, body["prompt"][id]["inputs"].get("text", [""])[0]} & set(errors)]
        if not good:
            error = {"type": "prompt_outputs_failed_validation", "message": "Bad", "details": "", "extra_info": {}}
            if not outputs:
                error |= {"type": "prompt_no_outputs", "message": "Prompt has no outputs"}
            return 400, {"error": error, "node_errors": report}
        with self._lock:
            extra = {**body["extra_data"], "client_id": body.get("client_id")}
            self.pending.append([len(self.posts), body["prompt_id"], body["prompt"], extra, good])
        self.tell_queue()
        return 200, {"prompt_id": body["prompt_id"], "number": len(self.posts), "node_errors": report}

    @staticmethod
    def _check(id: str, node: dict) -> dict | None:
        size = node["inputs"].get("size", 8)
        if size <= 64:
            return None
        extra = {"input_name": "size", "received_value": size}
        details = "size"
        return {"type": "value_bigger_than_max", "message": f"Value {size} bigger than max of 64", "details": details,
                "extra_info": extra}  # fmt: skip

    def path(self, query: dict) -> Path:
        return self.folder / query["type"] / query["subfolder"] / query["filename"]

    def delete(self, ids: list[str]) -> None:
        with self._lock:
            self.pending = [item for item in self.pending if item[1] not in ids]

    def interrupt(self, prompt_id: str) -> None:
        self.interrupts += any(item[1] == prompt_id for item in self.running)

    def listen(self, client_id: str, socket: SmallSocket) -> None:
        """A client's websocket, from its first byte to its last."""
        with socket.lock:  # known before the client is told that it is; what is sent meanwhile waits
            self.sockets.setdefault(client_id, []).append(socket)
            socket.accept()
        if self.websockets == "taken":
            socket.send({"type": "status", "data": {"status": {}, "sid": client_id}})
        socket.serve()

    def drop(self) -> None:
        """Every websocket breaks."""
        for socket in [each for sockets in list(self.sockets.values()) for each in sockets]:
            socket.drop()

    def restart(self) -> None:
        """What runs, waits and was is forgotten; files stay."""
        self.drop()
        with self._lock:
            self.pending, self.history = [], {}
            self._is_restarted = True
        self.gate.set()

    def tell_queue(self) -> None:
        for client_id in list(self.sockets):
            self._send(client_id, {"type": "status", "data": {"status": {}}})

    def _tell(self, item: list, kind: str, **data: Any) -> None:
        self._send(item[3]["client_id"], {"type": kind, "data": {**data, "prompt_id": item[1]}})

    def _send(self, client_id: str, message: Any) -> None:
        if self.websockets == "taken" and client_id in self.sockets:
            self.sockets[client_id][-1].send(message)

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if self.pending:
                    self.running.append(self.pending.pop(0))
            if not self.running:
                time.sleep(0.005)
                continue
            item, before, self._is_restarted = self.running[0], self.interrupts, False
            self.tell_queue()
            self._tell(item, "execution_start")
            self._tell(item, "execution_cached", nodes=sorted(self._known(item)))
            while not self.gate.is_set() and self.interrupts == before and not self._stop.is_set():
                time.sleep(0.005)
            status, outputs = self._execute(item, self.interrupts > before)
            for kind, data in status["messages"][-1:]:
                self._tell(item, kind, **data)
            with self._lock:
                item = self.running.pop()
                if not self._is_restarted:
                    self.history[item[1]] = {"prompt": item, "status": status, "outputs": outputs}
            self.tell_queue()

    def _known(self, item: list) -> set[str]:
        """The Text nodes that ran before."""
        return {id for id, node in item[2].items() if node["class_type"] == "Text" and str(node) in self._cached}

    def _execute(self, item: list, is_interrupted: bool) -> tuple[dict, dict]:
        prompt, outputs, known = item[2], {}, self._known(item)
        messages = [["execution_cached", {"nodes": sorted(known)}]]
        for id in item[4]:
            source = prompt[id]["inputs"]["text"][0]
            at = {"node_id": source, "node_type": "Text"}
            if is_interrupted:
                return {"status_str": "error", "messages": [*messages, ["execution_interrupted", at]]}, {}
            if prompt[source]["inputs"].get("text") == "broken":
                at |= {"exception_type": "RuntimeError", "exception_message": "it is broken\n"}
                return {"status_str": "error", "messages": [*messages, ["execution_error", at]]}, {}
            if source not in known:
                self._text(item, source)
            self._tell(item, "executing", node=id, display_node=id)
            self._saved += 1
            file = self.folder / "output" / f"{prompt[id]['inputs']['prefix']}_{self._saved:05}_.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps([prompt[source]["inputs"], item[3]]))
            entry = {"filename": file.name, "subfolder": file.parent.relative_to(self.folder / "output").as_posix()}
            outputs[id] = {"images": [{**entry, "type": "output"}], "animated": [True], "text": ["done"]}
            self._tell(item, "executed", node=id, display_node=id, output=outputs[id])
        return {"status_str": "success", "messages": [*messages, ["execution_success", {}]]}, outputs

    def _text(self, item: list, node: str) -> None:
        self._tell(item, "executing", node=node, display_node=node)
        about = json.dumps({"node_id": node, "display_node_id": node, "prompt_id": item[1]}).encode()
        for step in range(1, STEPS + 1):
            self._tell(item, "progress", node=node, value=step, max=STEPS)
            self._send(item[3]["client_id"], struct.pack(">II", 4, len(about)) + about + PICTURE)
        self._cached.add(str(item[2][node]))


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    comfy: SmallServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, promised=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(promised or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url, comfy = urllib.parse.urlsplit(self.path), self.comfy
        if comfy.is_away:
            self.close_connection = True
            return
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        _, route, *rest = urllib.parse.unquote(url.path).split("/")
        if route == "object_info":
            self.answer({name: info for name, info in OBJECT_INFO.items() if not rest or name == rest[0]})
        elif route == "queue":
            with comfy._lock:
                self.answer({"queue_running": comfy.running, "queue_pending": comfy.pending})
        elif route == "history":
            self.answer({key: value for key, value in list(comfy.history.items()) if key == rest[0]})
        elif route == "ws" and comfy.websockets != "refused":
            self.close_connection = True
            comfy.listen(query["clientId"], SmallSocket(self))
        elif route == "view" and comfy.path(query).exists():
            data = comfy.path(query).read_bytes()
            is_cut = comfy.faults[:1] == ["cut the file"] and comfy.faults.pop(0)
            self.answer(data[:5] if is_cut else data, promised=len(data))
        elif route == "page":
            self.answer(b"<html>")
        else:
            self.answer(b"404: Not Found", 404)

    def do_POST(self):
        data, comfy = self.rfile.read(int(self.headers["Content-Length"])), self.comfy
        if self.path == "/upload/image":
            return self.answer(self.upload(data))
        body = json.loads(data)
        if self.path == "/prompt":
            fault = comfy.faults.pop(0) if comfy.faults and "file" not in comfy.faults[0] else None
            if fault == "bad gateway":
                return self.answer(b"", 502)
            status, answer = comfy.queue(body) if fault != "lose the request" else (0, None)
            return None if fault else self.answer(answer, status)
        comfy.cancels.append(self.path)
        if self.path.startswith("/api/jobs/"):
            if not comfy.has_jobs:
                return self.answer(b"", 405)
            job = self.path.split("/")[3]
            comfy.delete([job])
            comfy.interrupt(job)
            return self.answer({"cancelled": True})
        actions = {"/queue": lambda: comfy.delete(body["delete"]), "/interrupt": lambda: comfy.interrupt(**body)}
        actions[self.path]()
        return self.answer(b"")

    def upload(self, data: bytes) -> dict:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form: Any = email.parser.BytesParser().parsebytes(head + data)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        folder = parts["subfolder"].get_payload()
        name, number = parts["image"].get_filename(), 0
        content = parts["image"].get_payload(decode=True)
        path = self.comfy.folder / parts["type"].get_payload() / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        while path.exists() and path.read_bytes() != content:
            number += 1
            path = path.with_name(f"{Path(name).stem} ({number}){Path(name).suffix}")
        path.write_bytes(content)
        return {"name": path.name, "subfolder": folder, "type": "input"}
