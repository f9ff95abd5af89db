"""The shipped workflows, and what draws and runs them: the installed package, as whoever uses it from outside does."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"


@dataclass(frozen=True)
class Shipped:
    """One shipped workflow: its UI file and the API twin."""

    file: Path

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
