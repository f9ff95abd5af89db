"""The client module, and a small server that behaves as ComfyUI does where the client looks."""

from __future__ import annotations

import importlib.util
import sys
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
def client(module, server):
    """A client of `server`."""
    return module.Client(server.url, timeout=5)
