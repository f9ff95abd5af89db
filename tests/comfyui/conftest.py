"""A real ComfyUI server with the pack and tiny model sets, and a small client of it.

    COMFYUI_DIR=/path/to/ComfyUI [COMFYUI_PYTHON=/path/to/its/python] pytest tests/comfyui

Without COMFYUI_DIR these tests are skipped.
"""

from __future__ import annotations

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_graphs import settings, write_inputs

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_DIR")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
# Tiny networks gain nothing from threads, which wait for each other where other tests keep the processor busy.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
START_SECONDS, RUN_SECONDS = 300, 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.comfyui)
            item.add_marker(pytest.mark.skipif(not COMFYUI, reason="COMFYUI_DIR names no ComfyUI checkout"))


@dataclass(frozen=True)
class Ran:
    """A graph that ran: the files it saved, and the ids of the nodes whose results were there before."""

    files: list[Path]
    kept: set[str]


class Server:
    """A running ComfyUI: `get` and `post` speak JSON, `run` waits for a graph, `log` is what it has printed."""

    def __init__(
        self, base: Path, models: tuple[Path, ...], flags: tuple[str, ...], called: str, variables: Mapping[str, str]
    ):
        self.base, self.output = base, base / "output"
        for folder in ("custom_nodes", "user", "input", "output", "temp"):
            (base / folder).mkdir(parents=True)
        (base / "custom_nodes" / called).symlink_to(ROOT, target_is_directory=True)
        write_inputs(base / "input")
        lines = []
        for number, root in enumerate(models):
            lines += [f"tiny_{number}:", f"    base_path: {root}"]
            lines += [f"    {folder.name}: {folder.name}" for folder in root.iterdir() if folder.is_dir()]
        (base / "paths.yaml").write_text("\n".join(lines))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        arguments = ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--disable-api-nodes"]
        arguments += ["--base-directory", str(base), "--extra-model-paths-config", str(base / "paths.yaml")]
        # Not in memory: ComfyUI 0.8 makes its tables over one connection, and such a database ends with its connection.
        arguments += ["--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}", *flags]
        self._log = base / "log.txt"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # the server is on this machine
        with self._log.open("wb") as log:
            command = [PYTHON, "-u", "main.py", *arguments]
            self._process = subprocess.Popen(
                command, cwd=COMFYUI, env={**ENVIRONMENT, **variables}, stdout=log, stderr=subprocess.STDOUT
            )

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

    def run(self, prompt: dict[str, Any], workflow: dict[str, Any] | None = None) -> Ran:
        """Queue a graph and wait for its success."""
        history = self.finished(self.queue(prompt, workflow))
        assert history["status"]["status_str"] == "success", (history["status"], self.log())
        made = [node.get("images", ()) or node.get("audio", ()) for node in history["outputs"].values()]
        saved = [item for items in made for item in items if item["type"] == "output"]
        files = [self.output / item["subfolder"] / item["filename"] for item in saved]
        return Ran(files, set(dict(history["status"]["messages"])["execution_cached"]["nodes"]))

    def free(self) -> None:
        """/free after a run that came to its end, and wait until every network of ours is gone."""

        def are_gone() -> bool:
            # Asked again and again: what comes while ComfyUI collects garbage waits for the next prompt.
            self.post("/free", {"unload_models": True, "free_memory": True})
            last = {kind: word for word, kind in re.findall(r"(loading|freeing) <LTX-2 (\w+)", self.log())}
            return "loading" not in last.values()

        self.wait("every network is freed", are_gone, 60)

    def resident_bytes(self) -> int:
        """What the process has in memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="session")
def models(tiny_models) -> Path:
    """A tiny model set of release 2.3."""
    return tiny_models("2.3")


@pytest.fixture(scope="session")
def start_server(tmp_path_factory, tiny_models) -> Iterator[Callable[..., Server]]:
    """`start_server("--cache-none")` starts a server with these flags besides the usual ones, and two releases.

    `called` is the name of the pack's folder: no identifier, unless a browser comes, to whom ComfyUI gives no file of
    a folder with a space in its name. `variables` are added to the server's environment.
    """
    models, running = (tiny_models("2.3"), tiny_models("2.0")), []

    def start(*flags: str, called: str = "comfyui-ltx2 1.0", **variables: str) -> Server:
        base = tmp_path_factory.mktemp("comfyui") / "base"
        running.append(server := Server(base, models, flags, called, variables))
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
def small_prompt() -> Callable[..., dict[str, Any]]:
    """`small_prompt("LTX-2 Retake", "folder/prefix", {("Retake", "start"): 0.25})` is a shipped graph made small."""

    def make(name: str, prefix: str = "small", changes: Mapping[tuple[str, str], Any] | None = None) -> dict[str, Any]:
        prompt = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
        titled = {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}
        for (title, key), value in {**settings(name), **(changes or {})}.items():
            assert key in titled[title]
            titled[title][key] = value
        for inputs in titled.values():
            inputs |= {key: prefix for key in inputs if key == "filename_prefix"}
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
        command = [PYTHON, "-c", script + "\nprint(json.dumps(answer))"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp, env=ENVIRONMENT)
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


@pytest.fixture(scope="session")
def second_device() -> Callable[[Path], str]:
    """`second_device(capacity)`: code by which ComfyUI takes the stand-in for a GPU for its device.

    It has as many bytes of memory as stand in that file, and only weights count. Threads that start use it.
    """
    file = str(ROOT / "tests" / "second_device.py")
    return lambda capacity: _SECOND_DEVICE.format(file=file, capacity=str(capacity))


_SECOND_DEVICE = """
import importlib.util, sys
from pathlib import Path
import comfy.model_management as management

spec = importlib.util.spec_from_file_location("second_device", {file!r})
sys.modules["second_device"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

class Patches:
    setattr = staticmethod(lambda owner, name, value, raising=True: setattr(owner, name, value))

second_device = module.SecondDevice(60 * 2**30)
second_device.installed(Patches)

def free(device=None, torch_free_too=False):
    loaded = sum(each.model_loaded_memory() for each in management.current_loaded_models if each.model is not None)
    left = management.minimum_inference_memory() + max(int(Path({capacity!r}).read_text()) - loaded, 0)
    return (left, 0) if torch_free_too else left

management.get_torch_device = management.vae_device = lambda: module.DEVICE
management.get_torch_device_name = str
management.get_total_memory = lambda device=None, torch_total_too=False: (2**36, 2**36) if torch_total_too else 2**36
management.get_free_memory = free
management.should_use_bf16 = lambda *_, **__: False
management.lowvram_available = True
management.vram_state = management.VRAMState.NORMAL_VRAM
"""
