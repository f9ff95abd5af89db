"""The shipped workflows, and what draws and runs them: the installed package, as whoever uses it from outside does."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_graphs import EXPECTED, settings, write_inputs

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"


@dataclass(frozen=True)
class Shipped:
    """One shipped workflow: its UI file and the API twin."""

    file: Path

    @property
    def expected(self) -> dict[str, Any]:
        """What a run of the small graph gives."""
        return EXPECTED[self.file.stem]

    @property
    def release(self) -> str:
        return self.expected.get("release", "2.3")

    @property
    def ui(self) -> dict[str, Any]:
        return json.loads(self.file.read_text(encoding="utf-8"))

    @property
    def twin(self) -> Path:
        return WORKFLOWS / "api" / self.file.name

    @property
    def api(self) -> dict[str, dict[str, Any]]:
        return json.loads(self.twin.read_text(encoding="utf-8"))

    def only(self, class_type: str) -> dict[str, Any]:
        """The inputs of the only node of this class."""
        (node,) = (node for node in self.api.values() if node["class_type"] == class_type)
        return node["inputs"]

    def titled(self, title: str) -> str:
        """The id of the node with this title."""
        (node_id,) = (id for id, node in self.api.items() if node["_meta"]["title"] == title)
        return node_id


def pytest_generate_tests(metafunc):
    """Tests that take `shipped` run for each workflow."""
    if "shipped" in metafunc.fixturenames:
        files = sorted(WORKFLOWS.glob("*.json"))
        metafunc.parametrize("shipped", [Shipped(file) for file in files], ids=[file.stem for file in files])


@pytest.fixture(scope="session")
def shipped_by_name():
    return lambda name: Shipped(WORKFLOWS / f"{name}.json")


@pytest.fixture(scope="session")
def headless():
    """`headless(models, input, output)` is a session of the headless host, whose value is an executor."""
    from comfyui_ltx2.nodes.host.headless.session import session

    return session


@pytest.fixture(scope="session")
def object_info(headless):
    with headless() as executor:
        return {name: cls.GET_NODE_INFO_V1() for name, cls in executor.classes.items()}


@pytest.fixture(scope="session")
def tool():
    """`tool("graphs")` imports that module of the tool that draws workflows."""
    folder, name = ROOT / "tools" / "workflows", "ltx2_workflow_tool"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return lambda module: importlib.import_module(f"{name}.{module}")


@dataclass(frozen=True)
class Run:
    """A small run of a shipped graph: the graph as it ran, every node's outputs by title, and the file it saved."""

    graph: Any
    outputs: dict[str, tuple]
    file: Path


@pytest.fixture(scope="session")
def input_folder(tmp_path_factory) -> Path:
    """The files that shipped graphs name."""
    folder = tmp_path_factory.mktemp("input")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def output_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="session")
def executor_of(headless, tiny_models, input_folder, output_folder):
    """`executor_of("2.3")` runs graphs on that release's tiny set; it keeps networks from test to test."""
    opened: dict[str, Any] = {}
    with ExitStack() as stack:

        def open_executor(release: str):
            if release not in opened:
                stack.close()
                opened.clear()
                session = headless(tiny_models(release), input_folder, output_folder, stream=io.StringIO())
                opened[release] = stack.enter_context(session)
            return opened[release]

        yield open_executor


@pytest.fixture(scope="session")
def run_small(executor_of, output_folder):
    """`run_small(shipped)` is a small run of it, made once."""
    from comfyui_ltx2.nodes.host.graph.document import read_graph
    from comfyui_ltx2.nodes.host.headless.session import run_graph, saved_files

    runs: dict[str, Run] = {}

    def run(shipped: Shipped) -> Run:
        if shipped.file.stem not in runs:
            executor = executor_of(shipped.release)
            infos = executor.infos()
            graph = read_graph(shipped.file, infos)
            for (title, name), value in settings(shipped.file.stem).items():
                graph = graph.with_value(title, name, value, infos)
            result = run_graph(executor, graph)
            titles = {node["_meta"]["title"]: id for id, node in graph.prompt.items()}
            (file,) = saved_files(result, output_folder)
            outputs = {title: result.values[id] for title, id in titles.items() if id in result.values}
            runs[shipped.file.stem] = Run(graph, outputs, file)
        return runs[shipped.file.stem]

    return run
