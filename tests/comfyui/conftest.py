"""A real ComfyUI server with the pack and a tiny model set, and a small client of it.

    COMFYUI_DIR=/path/to/ComfyUI [COMFYUI_PYTHON=/path/to/its/python] pytest tests/comfyui

Without COMFYUI_DIR these tests are skipped.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltx2 import tiny

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_DIR")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
CANVAS = {"width": 384, "height": 256, "frames": 25, "frame_rate": 24.0}
START_SECONDS, RUN_SECONDS = 120, 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.comfyui)
            item.add_marker(pytest.mark.skipif(not COMFYUI, reason="COMFYUI_DIR names no ComfyUI checkout"))


class Server:
    """A running ComfyUI: `get` and `post` speak JSON, `run` waits for a graph, `log` is what it has printed."""

    def __init__(self, base: Path, models: Path, flags: tuple[str, ...]):
        self.base, self.output = base, base / "output"
        for folder in ("custom_nodes", "user", "input", "output", "temp"):
            (base / folder).mkdir(parents=True)
        (base / "custom_nodes" / "comfyui-ltx2 1.0").symlink_to(ROOT, target_is_directory=True)  # no identifier
        ramp = np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8)
        Image.fromarray(ramp).save(base / "input" / "example.png")
        folders = [folder.name for folder in models.iterdir() if folder.is_dir()]
        lines = ["tiny:", f"    base_path: {models}", *(f"    {name}: {name}" for name in folders)]
        (base / "paths.yaml").write_text("\n".join(lines))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        arguments = ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--disable-api-nodes"]
        arguments += ["--base-directory", str(base), "--extra-model-paths-config", str(base / "paths.yaml")]
        arguments += ["--database-url", "sqlite:///:memory:", *flags]
        self._log = base / "log.txt"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # the server is on this machine
        with self._log.open("wb") as log:
            command = [PYTHON, "-u", "main.py", *arguments]
            self._process = subprocess.Popen(command, cwd=COMFYUI, stdout=log, stderr=subprocess.STDOUT)

    def log(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self._log.read_text(errors="replace"))

    def get(self, path: str) -> Any:
        return self._send(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}"))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        return self._send(urllib.request.Request(url, json.dumps(body).encode(), method="POST"))

    def _send(self, request: urllib.request.Request) -> Any:
        with self._open(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def wait(self, what: str, is_so: Callable[[], Any], seconds: float) -> Any:
        """The first true answer of `is_so`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self._process.poll() is None, f"the server has stopped:\n{self.log()}"
            if answer := is_so():
                return answer
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.log()}")

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            try:
                return bool(self.get("/system_stats"))
            except urllib.error.URLError:
                return False

        self.wait("the server is up", is_up, START_SECONDS)

    def queue(self, prompt: dict[str, Any], workflow: dict[str, Any] | None = None) -> str:
        """Hand in a graph, with its UI file as the browser does; returns its id."""
        extra = {"extra_pnginfo": {"workflow": workflow}} if workflow else {}
        return self.post("/prompt", {"prompt": prompt, "extra_data": extra})["prompt_id"]

    def finished(self, prompt_id: str) -> dict[str, Any]:
        """The history of a graph, once it has ended."""
        return self.wait("the graph has ended", lambda: self.get(f"/history/{prompt_id}").get(prompt_id), RUN_SECONDS)

    def run(self, prompt: dict[str, Any], workflow: dict[str, Any] | None = None) -> list[Path]:
        """The files that a graph saves."""
        history = self.finished(self.queue(prompt, workflow))
        assert history["status"]["status_str"] == "success", (history["status"], self.log())
        shown = [item for node in history["outputs"].values() for item in node.get("images", ())]
        return [self.output / item["subfolder"] / item["filename"] for item in shown if item["type"] == "output"]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A tiny model set of release 2.3."""
    folder = tmp_path_factory.mktemp("models")
    tiny.write(folder, release="2.3")
    return folder


@pytest.fixture(scope="session")
def start_server(tmp_path_factory, models) -> Iterator[Callable[..., Server]]:
    """`start_server("--cache-none")` starts a server with these flags besides the usual ones."""
    running = []

    def start(*flags: str) -> Server:
        running.append(server := Server(tmp_path_factory.mktemp("comfyui") / "base", models, flags))
        server.wait_until_up()
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def server(start_server) -> Server:
    """The server that most tests share, with ComfyUI's own defaults."""
    return start_server()


@pytest.fixture(scope="session")
def tiny_prompt(server) -> Callable[..., dict[str, Any]]:
    """`tiny_prompt("name", prefix, steps=4)` is a shipped graph with a small canvas and the models that are there."""
    infos = server.get("/object_info")

    def make(name: str, prefix: str = "tiny", steps: int = 4) -> dict[str, Any]:
        prompt = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
        for node in prompt.values():
            inputs = infos[node["class_type"]]["input"]
            for key, (kind, *options) in {**inputs.get("required", {}), **inputs.get("optional", {})}.items():
                choices = kind if isinstance(kind, list) else options[0].get("options") if kind == "COMBO" else None
                if choices and isinstance(node["inputs"].get(key), str) and node["inputs"][key] not in choices:
                    node["inputs"][key] = difflib.get_close_matches(node["inputs"][key], choices, cutoff=0)[0]
            small = {**CANVAS, "steps": steps, "filename_prefix": prefix}
            node["inputs"] |= {key: value for key, value in small.items() if key in node["inputs"]}
        return prompt

    return make


@pytest.fixture(scope="session")
def in_comfyui(tmp_path_factory, models) -> Callable[[str], Any]:
    """`in_comfyui(code)` runs it in a process of ComfyUI's that has loaded the pack, and returns its `answer`.

    The code sees `host`, `pack(module)`, `models` and `tmp`. ComfyUI's modules (`nodes`, `utils`) must not come near
    ours, hence the process.
    """

    def run(code: str) -> Any:
        tmp = tmp_path_factory.mktemp("host")
        values = {"comfyui": COMFYUI, "root": str(ROOT), "models": str(models), "tmp": str(tmp)}
        script = f"import json\nvalues = json.loads({json.dumps(json.dumps(values))})\n{_LOAD}\n{textwrap.dedent(code)}"
        done = subprocess.run(
            [PYTHON, "-c", script + "\nprint(json.dumps(answer))"], capture_output=True, text=True, check=False, cwd=tmp
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


_LOAD = """
import asyncio, importlib, sys, torch
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
models, tmp = Path(values["models"]), Path(values["tmp"])
sys.argv = ["main.py", "--cpu", "--base-directory", str(tmp), *values.get("flags", [])]
sys.path.insert(0, values["comfyui"])
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths
name = "/somewhere/custom_nodes/comfyui-ltx2 1_x_0"
spec = spec_from_file_location(name, values["root"] + "/__init__.py", submodule_search_locations=[values["root"]])
sys.modules[name] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
pack = lambda module: importlib.import_module(f"{name}.{module}")
extension = asyncio.run(sys.modules[name].comfy_entrypoint())
nodes = asyncio.run(extension.get_node_list())
host = pack("nodes.host").current()
for folder in models.iterdir():
    folder_paths.add_model_folder_path(folder.name, str(folder))
"""
