"""Runs what the browser queues on the headless host, in a thread, and tells it what ComfyUI's server would tell."""

from __future__ import annotations

import io
import json
import queue
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfyui_ltx2.nodes.host import use
from comfyui_ltx2.nodes.host.graph.problems import GraphError
from comfyui_ltx2.nodes.host.headless.executor import Executor
from comfyui_ltx2.nodes.host.headless.host import HeadlessHost
from PIL import Image

PREVIEW_WITH_METADATA = 4  # a kind of binary message


class TellingHost(HeadlessHost):
    """A headless host whose progress goes to `tell` too. `gate(title of the stage, steps done)` may hold it up."""

    tell: Callable[[int, int], None]
    gate: Callable[[str, int], None]

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int], None]]:
        with super().progress(title) as on_step:

            def step(done: int, total: int) -> None:
                on_step(done, total)
                self.tell(done, total)
                self.gate(title, done)

            yield step


class TellingExecutor(Executor):
    """An executor that calls `begun(node id)` and `ended(node id, ui)` around every node that runs."""

    begun: Callable[[str], None]
    ended: Callable[[str, Mapping[str, Any]], None]

    def _run_node(self, plan: Any, node_id: str, *rest: Any) -> Any:
        self.begun(node_id)
        kept = super()._run_node(plan, node_id, *rest)
        self.ended(node_id, kept.ui)
        return kept


class Runner:
    """ComfyUI's queue. `send(kind, data)` reaches the browser with a message, `send_bytes(data)` with a binary one."""

    def __init__(self, host: TellingHost):
        use(host)
        from comfyui_ltx2.nodes import node_classes
        from comfyui_ltx2.nodes.host.headless.core_nodes import CORE_NODES

        self.host, self.executor = host, TellingExecutor(host, [*node_classes(), *CORE_NODES])
        self.send: Callable[[str, Any], None] = lambda *_: None
        self.send_bytes: Callable[[bytes], None] = lambda _: None
        self.ran: list[str] = []
        self.errors: list[BaseException] = []
        self.held = threading.Event()
        self._hold_at: tuple[str, int] | None = None
        self._go_on = threading.Event()
        self._waiting: queue.Queue = queue.Queue()
        self._prompt_id = self._node_id = ""
        host.tell, host.gate = self._progress, self._gate
        self.executor.begun, self.executor.ended = self._begun, self._ended
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def object_info(self) -> dict[str, Any]:
        return {name: cls.GET_NODE_INFO_V1() for name, cls in self.executor.classes.items()}

    def queue(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The answer to POST /prompt: its status and its body."""
        try:
            self.executor.validate(body["prompt"])
        except GraphError as error:
            return 400, error.report
        prompt_id = body.get("prompt_id") or str(uuid.uuid4())
        self._waiting.put((prompt_id, body["prompt"], body.get("extra_data", {}).get("extra_pnginfo")))
        self._status(1)
        return 200, {"prompt_id": prompt_id, "number": 1, "node_errors": {}}

    def hold(self, stage: str, done: int) -> None:
        """Stop at this step of this stage, going on from where it stops now; `held` is set when it is there."""
        self.held.clear()
        self._hold_at = stage, done
        self._release()

    def go_on(self) -> None:
        self._hold_at = None
        self._release()

    def _release(self) -> None:
        before, self._go_on = self._go_on, threading.Event()
        before.set()

    def close(self) -> None:
        self.go_on()
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._prompt_id, prompt, extra = item
            self.ran.append(self._prompt_id)
            about = {"prompt_id": self._prompt_id}
            self.send("execution_start", about)
            self.send("execution_cached", {"nodes": [], **about})
            try:
                self.executor.run(prompt, extra)
                self.send("execution_success", about)
            except Exception as error:  # noqa: BLE001 - whatever it is, the browser and the test are told
                self.errors.append(error)
                told = {"exception_message": str(error), "exception_type": type(error).__name__, "traceback": []}
                self.send(
                    "execution_error", {"node_id": self._node_id, "node_type": "", "executed": [], **told, **about}
                )
            self.send("executing", {"node": None, "prompt_id": self._prompt_id})
            self._status(0)

    def _status(self, remaining: int) -> None:
        self.send("status", {"status": {"exec_info": {"queue_remaining": remaining}}})

    def _aliases(self, node_id: str) -> dict[str, Any]:
        return {
            "prompt_id": self._prompt_id,
            "display_node_id": node_id,
            "real_node_id": node_id,
            "parent_node_id": None,
        }

    def _begun(self, node_id: str) -> None:
        self._node_id = node_id
        self.send("executing", {"node": node_id, "display_node": node_id, "prompt_id": self._prompt_id})
        self._state(0, 1, "running")

    def _progress(self, done: int, total: int) -> None:
        self._state(done, total, "running")
        self.send("progress", {"value": done, "max": total, "prompt_id": self._prompt_id, "node": self._node_id})

    def _ended(self, node_id: str, ui: Mapping[str, Any]) -> None:
        self._state(1, 1, "finished")
        if ui:
            about = {"node": node_id, "display_node": node_id, "prompt_id": self._prompt_id}
            self.send("executed", {"output": ui, **about})

    def _state(self, value: int, total: int, state: str) -> None:
        about = {"value": value, "max": total, "state": state, "node_id": self._node_id, **self._aliases(self._node_id)}
        self.send("progress_state", {"prompt_id": self._prompt_id, "nodes": {self._node_id: about}})

    def preview(self, image: Image.Image) -> None:
        """Show an image on the node that runs."""
        stream = io.BytesIO()
        image.save(stream, "JPEG")
        about = {"node_id": self._node_id, "image_type": "image/jpeg", **self._aliases(self._node_id)}
        text = json.dumps(about).encode()
        self.send_bytes(struct.pack(">II", PREVIEW_WITH_METADATA, len(text)) + text + stream.getvalue())

    def _gate(self, stage: str, done: int) -> None:
        go_on = self._go_on
        if self._hold_at == (stage, done):
            self.held.set()
            go_on.wait(120)


@contextmanager
def runner(models: Path, inputs: Path, outputs: Path) -> Iterator[Runner]:
    def show(image: Image.Image) -> None:
        running.preview(image)

    with TellingHost(models, inputs, outputs, stream=io.StringIO(), on_preview=show) as host:
        running = Runner(host)
        yield running
        running.close()
