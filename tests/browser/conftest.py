"""Released frontends in a real browser, served by a small server that knows the pack's nodes and nothing else.

Tests that take `canvas` run in each of `LOOKS`: the newest frontend in both of its renderers, and the oldest that the
pack supports. One that needs more or fewer names its own:

    @pytest.mark.parametrize("canvas", [Look("1.35.9", "nodes 2.0")], indirect=True, ids=str)
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
SCREENSHOTS = ROOT / "output" / "screenshots"  # not under version control
NEWEST, OLDEST = "newest", "1.35.9"  # ComfyUI 0.8.0's, which `make test` puts beside the environment
MODULE = "custom_nodes.comfyui-ltx2"
DROP = """async ([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
    await app.handleFile(new File([bytes], name, { type: 'video/mp4' }));
}"""
# A video and a picture take what room a node has in the classic renderer.
DRAWN = {
    "classic": """() => app.graph.nodes.map(node => {
        const [width, height] = node.computeSize();
        const [x, y] = node.pos;
        const right = x + (node.videoContainer ? node.size[0] : Math.max(width, node.size[0]));
        return [x, y - 30, right, y + Math.max(height, node.size[1])];
    })""",
    "nodes 2.0": """() => {
        const { scale, offset } = app.canvas.ds;
        const { left, top } = app.canvas.canvas.getBoundingClientRect();
        return [...document.querySelectorAll("[data-node-id]")]
            .map(element => element.getBoundingClientRect())
            .map(box => [box.left - left, box.top - top, box.right - left, box.bottom - top])
            .map(box => box.map((each, axis) => each / scale - offset[axis % 2]));
    }""",
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders with an empty file under every model's name that a workflow uses, and whole inputs."""
    folder = tmp_path_factory.mktemp("browser")
    for file in WORKFLOWS.glob("*.json"):
        for node in json.loads(file.read_text())["nodes"]:
            for model in node["properties"].get("models", []):
                touch(folder / "models" / model["directory"] / model["name"])
            if node["type"] == "LTX2_LoadCheckpoint":
                touch(folder / "models" / "text_encoders" / node["widgets_values"][1] / "config.json")
    write_inputs(folder / "input")
    return folder


def write_inputs(folder: Path) -> None:
    """The picture, the clip and the sound that workflows name: the browser shows all of them."""
    from ltx2.media.writer import VideoWriter

    folder.mkdir()
    Image.linear_gradient("L").save(folder / "example.png")
    tone = torch.sin(torch.arange(24000) * 0.05).repeat(2, 1) * 0.3
    with VideoWriter(folder / "example.mp4", 320, 176, 24, audio=(tone, 24000)) as writer:
        writer.write(torch.linspace(0, 1, 24)[:, None, None, None] * torch.ones(24, 176, 320, 3))
    with wave.open(str(folder / "example.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24000)
        file.writeframes((tone[0] * 32767).to(torch.int16).numpy().tobytes())


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.fixture(scope="session")
def object_info(folders):
    """What a ComfyUI server would say of our nodes and of its own that workflows use."""
    from comfyui_ltx2.nodes.host.headless.session import session

    with session(folders / "models", folders / "input") as executor:
        infos = {name: cls.GET_NODE_INFO_V1() for name, cls in executor.classes.items()}
    for name, info in infos.items():
        info["python_module"] = MODULE if name.startswith("LTX2_") else "nodes"
    return infos


@dataclass(frozen=True)
class Look:
    """A release of the frontend, and which of its renderers draws nodes: "classic", or "nodes 2.0" (Vue)."""

    frontend: str
    renderer: str

    def __str__(self) -> str:
        return f"{self.frontend} {self.renderer}"


LOOKS = [Look(NEWEST, "classic"), Look(NEWEST, "nodes 2.0"), Look(OLDEST, "classic")]


def static_folder(frontend: str) -> Path:
    """The files of a frontend; the test skips where they are not installed."""
    if frontend == NEWEST:
        package = pytest.importorskip(
            "comfyui_frontend_package", reason="needs comfyui-frontend-package: pip install -e '.[dev]'"
        )
        return Path(package.__file__).parent / "static"
    folder = Path(sys.prefix) / "frontends" / frontend / "comfyui_frontend_package" / "static"
    if not folder.is_dir():
        pytest.skip(f"needs comfyui-frontend-package {frontend} in {folder.parents[1]}: make test installs it")
    return folder


def load(name: str) -> Any:
    """The module of this name in this folder: pytest does not import it by itself."""
    spec = importlib.util.spec_from_file_location(f"ltx2_browser_{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """`with serve(static, pack, folders, object_info, queue) as server` runs a server."""
    return load("server").serve


@pytest.fixture(scope="session")
def start_server(serve, folders, object_info) -> Iterator[Callable[[str], Any]]:
    """`start_server("newest")` starts a server with that frontend that runs nothing; they stay until the tests end."""
    with ExitStack() as stack:

        def start(frontend: str) -> Any:
            static = static_folder(frontend)
            return stack.enter_context(serve(static, ROOT, {"input": folders / "input"}, object_info))

        yield start


@pytest.fixture(scope="session")
def server(start_server):
    """A server with the newest frontend, for tests that open pages of their own."""
    return start_server(NEWEST)


@dataclass(eq=False)
class Canvas:
    """A page with the frontend, and everything that went wrong on it."""

    page: Any
    server: Any
    look: Look
    errors: list[str] = field(default_factory=list)

    @property
    def renderer(self) -> str:
        return self.look.renderer

    def start(self) -> None:
        """(Re)load the page and wait until it knows our nodes."""
        self.page.goto(self.server.url)
        self.page.wait_for_function("() => window.app?.extensionManager && app.graph && app.canvas", timeout=90_000)
        self.page.wait_for_function("() => 'LTX2_Sample' in LiteGraph.registered_node_types", timeout=90_000)
        # Older releases open ComfyUI's default workflow first, and complain of its nodes, which this server has not: at
        # some time, in a dialog that only closes once it is there.
        calm = 0
        for _ in range(240):
            self.page.wait_for_timeout(250)
            calm = 0 if self.page.locator("[role=dialog]").count() else calm + 1
            if calm == 6:
                return
            if not calm:
                self.page.keyboard.press("Escape")
        raise AssertionError("a dialog stays open")

    def open(self, workflow: dict[str, Any]) -> None:
        """Load a workflow as if it had been chosen from the templates, and show all of it."""
        self.errors.clear()
        self.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1500)  # the view moves there, and warnings would appear

    def prompt(self) -> dict[str, Any]:
        """The API form that the frontend would send to the server."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}, {self.look}.png")

    def drop(self, file: Path) -> None:
        """Drop a file onto the canvas."""
        self.page.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])

    def drawn(self) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of every node as the renderer draws it, in the graph's units."""
        return [tuple(box) for box in self.page.evaluate(DRAWN[self.renderer])]

    def boxes_of_groups(self) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of every group."""
        boxes = self.page.evaluate("() => app.graph.groups.map(group => [...group.pos, ...group.size])")
        return [(x, y, x + width, y + height) for x, y, width, height in boxes]

    def shown_problems(self) -> list[str]:
        """Texts of dialogs and messages."""
        texts = self.page.evaluate(
            "() => [...document.querySelectorAll('[role=dialog], .p-dialog, [role=alert], [role=status]')]"
            ".map(element => element.innerText.trim())"
        )
        return [text for text in texts if text]


@pytest.fixture(scope="session")
def open_canvas(chromium) -> Iterator[Callable[[Any, Look], Canvas]]:
    """`open_canvas(server, look)` opens a page of that server and starts the frontend in it."""
    pages = []

    def open_page(server: Any, look: Look) -> Canvas:
        server.settings["Comfy.VueNodes.Enabled"] = look.renderer == "nodes 2.0"
        pages.append(page := chromium.new_page(viewport={"width": 2560, "height": 1400}))
        canvas = Canvas(page, server, look)
        page.on("console", lambda m: canvas.errors.append(f"{m.text} {m.location}") if m.type == "error" else None)
        page.on("pageerror", lambda error: canvas.errors.append(f"{error} {error.stack}"))
        # Nothing outside this machine is asked; answering in its place keeps failed look-ups out of the console.
        everywhere = {"access-control-allow-origin": "*", "access-control-allow-headers": "*"}
        page.route(
            lambda url: not url.startswith((server.url, "blob:", "data:")),
            lambda route: route.fulfill(status=200, headers=everywhere, body="[]"),
        )
        canvas.start()
        return canvas

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(scope="session", params=LOOKS, ids=str)
def canvas(request, start_server, open_canvas) -> Iterator[Canvas]:
    """The frontend in the browser: in each of `LOOKS`, or as the test says."""
    canvas = open_canvas(start_server(request.param.frontend), request.param)
    yield canvas
    canvas.page.close()


@pytest.fixture(scope="session")
def saved_video(tiny_models, tmp_path_factory):
    """A video that the distilled workflow made, and the graph that it ran."""
    from comfyui_ltx2.nodes.host.graph.document import read_graph
    from comfyui_ltx2.nodes.host.headless.session import run_graph, saved_files, session

    folder = tmp_path_factory.mktemp("saved")
    with session(tiny_models("2.3"), folder, folder, stream=io.StringIO()) as executor:
        infos = executor.infos()
        graph = read_graph(WORKFLOWS / "LTX-2 Text to Video Distilled.json", infos)
        for name, value in {"width": 64, "height": 64, "frames": 1}.items():
            graph = graph.with_value("Canvas", name, value, infos)
        (file,) = saved_files(run_graph(executor, graph), folder)
    return file, graph


@pytest.fixture(scope="session")
def runner(tiny_models, tmp_path_factory):
    """What runs graphs on the tiny set of release 2.3."""
    base = tmp_path_factory.mktemp("run")
    write_inputs(base / "input")
    with load("runner").runner(tiny_models("2.3"), base / "input", base / "output") as running:
        yield running


@pytest.fixture(scope="session", params=LOOKS, ids=str)
def run_canvas(request, serve, runner, open_canvas) -> Iterator[Canvas]:
    """A canvas like `canvas`, whose server runs what is queued."""
    folders = runner.host.folders
    served = {"input": folders.input, "output": folders.output, "temp": folders.temp}
    infos = runner.object_info()
    for name, info in infos.items():
        info["python_module"] = MODULE if name.startswith("LTX2_") else "nodes"
    with serve(static_folder(request.param.frontend), ROOT, served, infos, runner.queue) as server:
        runner.send, runner.send_bytes = server.send, server.send_bytes
        canvas = open_canvas(server, request.param)
        yield canvas
        canvas.page.close()
