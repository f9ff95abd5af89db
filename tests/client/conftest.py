"""The client module, and a small server that behaves as ComfyUI does where the client looks."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACK = str(ROOT / "custom_nodes" / "comfyui-ltx2").replace(".", "_x_")  # as tests/nodes names it: one copy for both


def load(name: str, path: Path, **options):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path, **options)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(autouse=True)
def _heeds_ctrl_c():
    """Shells start what runs in the background with Ctrl-C ignored; these tests press it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def pack():
    """`pack("client")` imports that module of the pack."""
    load(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    return lambda module: importlib.import_module(f"{PACK}.{module}")


@pytest.fixture
def module(pack, monkeypatch):
    """The client module; it pauses for hundredths of a second."""
    monkeypatch.setattr(pack("client.connection"), "FIRST_PAUSE", 0.01)
    return pack("client")


@pytest.fixture
def server(tmp_path):
    """A running ComfyUI of a hundred lines; see small_server.py."""
    load("small_socket", Path(__file__).with_name("small_socket.py"))
    small = load("small_server", Path(__file__).with_name("small_server.py"))
    with small.SmallServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def ctrl_c(server):
    """`with ctrl_c():` presses it once a graph runs on the server."""

    @contextmanager
    def pressed():
        def press():
            while not server.running:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    return pressed


@pytest.fixture
def client(module, server):
    """A client of `server`."""
    return module.Client(server.url, timeout=5)


WORKFLOW = {
    "nodes": [
        {
            "id": 1,
            "type": "Text",
            "title": "My text",
            "outputs": [{"name": "STRING", "type": "STRING", "links": [1]}],
            "widgets_values": ["hello", 16],
        },
        {
            "id": 2,
            "type": "Save",
            "inputs": [{"name": "text", "type": "STRING", "link": 1}],
            "widgets_values": ["", "a"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "STRING"]],
    "version": 0.4,
}


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    """The path of a UI workflow; the working folder is empty but for it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("graph.json").write_text(json.dumps(WORKFLOW))
    return Path("graph.json")


@pytest.fixture
def own_nodes(pack, monkeypatch):
    """The small server's Text and Save as nodes of this process; the event is set once Text runs, slowly on "slow"."""
    is_running = threading.Event()
    io, current = pack("nodes.host.headless.io"), pack("nodes.host").current

    def save(cls, text, prefix):
        path, subfolder = current().save_path(prefix, ".mp4", 8, 8)
        path.write_text(json.dumps([text, cls.hidden.extra_pnginfo]))
        return io.NodeOutput(ui={"images": [{"filename": path.name, "subfolder": subfolder, "type": "output"}]})

    def join(cls, text, size):
        is_running.set()
        for _ in range(500 if text == "slow" else 1):
            current().check_cancelled()
            time.sleep(0.01)
        return io.NodeOutput(f"{text} {size}")

    def node(name, inputs, outputs, execute, **options):
        def define_schema(cls):
            return io.Schema(node_id=name, inputs=inputs, outputs=outputs, **options)

        methods = {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
        return type(name, (io.ComfyNode,), methods)

    text = [io.String.Input("text"), io.Int.Input("size", min=8, max=64, default=8)]
    made = [
        node("Text", text, [io.String.Output()], join),
        node("Save", [io.String.Input("text"), io.String.Input("prefix")], [], save, is_output_node=True),
    ]
    monkeypatch.setattr(pack("nodes"), "node_classes", lambda: made, raising=False)
    return is_running


@pytest.fixture
def ltx2(pack, module, capsys):
    """`ltx2("run", "a.json")` is (exit code, standard output, standard error)."""

    def run(*arguments):
        code = pack("cli").main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run
