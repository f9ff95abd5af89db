"""Registers the library by path as `ltx2`, as tests of it need no host, opens golden fixtures and a browser."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

# MKL's exp differs in the last bit from processor to processor, and timesteps multiply it by 1000. The fixtures were
# made on its common code path; with this setting, which MKL reads when it starts, every processor takes that path.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
# Triton runs its kernels as Python, without a GPU, where it is told so before anything imports it.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
# Headless, as root, and quiet: no component updates, no look-ups of hosts that nothing here needs.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _register(name: str, path: Path) -> ModuleType:
    """Import the package or module at `path` as `name` without putting the repository root on sys.path.

    The root holds `nodes/`, which would shadow ComfyUI's module of that name.
    """
    if name in sys.modules:
        return sys.modules[name]
    if path.is_dir():
        spec = importlib.util.spec_from_file_location(
            name, path / "__init__.py", submodule_search_locations=[str(path)]
        )
    else:
        spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_register("ltx2", ROOT / "ltx2")
_register("oracle", ROOT / "tests" / "oracle.py")
_register("small_graphs", ROOT / "tests" / "small_graphs.py")
_register("second_device", ROOT / "tests" / "second_device.py")


@dataclass(frozen=True)
class Case:
    """One golden fixture: tensors under their names without the `weights.`, `inputs.`, `outputs.` prefixes."""

    weights: dict[str, torch.Tensor]
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]
    metadata: dict[str, str]

    @property
    def config(self) -> dict:
        return json.loads(self.metadata["config"])

    @property
    def params(self) -> dict:
        return json.loads(self.metadata["params"])


def open_case(name: str) -> Case:
    groups = {"weights": {}, "inputs": {}, "outputs": {}}
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            group, _, rest = key.partition(".")
            groups[group][rest] = file.get_tensor(key)
        return Case(**groups, metadata=file.metadata())


@pytest.fixture(scope="session")
def golden():
    """`golden("transformer_20")` opens that fixture."""
    return open_case


@pytest.fixture(scope="session")
def golden_json():
    """`golden_json("manifest_20")` reads that JSON file."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """`tiny_models("2.3")` is a models folder with the tiny set of that release, written once."""
    folders: dict[str, Path] = {}

    def write(release: str) -> Path:
        if release not in folders:
            from ltx2 import tiny

            folder = tmp_path_factory.mktemp("models") / release
            tiny.write(folder, release=release, seed=0)
            folders[release] = folder
        return folders[release]

    return write


# What `anonymous` counts is memory of the process's own, which mapped files are not.
MEASURING = """
import importlib.util, sys
from pathlib import Path
folders = [str(Path(sys.argv[1]).parent)]
spec = importlib.util.spec_from_file_location("ltx2", sys.argv[1], submodule_search_locations=folders)
sys.modules["ltx2"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import torch
from torch import nn
from ltx2.checkpoint.keys import NameTable
from ltx2.checkpoint.load import build
from ltx2.checkpoint.reader import Checkpoint

def anonymous():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

table = NameTable("network", "", ("",), keeps_other_names=True)
"""


@pytest.fixture(scope="session")
def measured() -> Callable[..., list[str]]:
    """`measured(code, large, small)` runs code in a process of its own, and gives the words that it prints.

    It has `build`, `Checkpoint`, a `table` of any names, `anonymous()` bytes, and the paths as sys.argv[2] and [3].
    """

    def run(code: str, *paths: Path) -> list[str]:
        command = [sys.executable, "-c", MEASURING + code, str(ROOT / "ltx2" / "__init__.py"), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


@pytest.fixture(scope="session")
def tool_module() -> Callable[[str], ModuleType]:
    """`tool_module("web/numbers.py")` is that module of tools/, by itself."""
    return lambda path: _register("ltx2_tool_" + path.removesuffix(".py").replace("/", "_"), ROOT / "tools" / path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Tests in a browser come last: Playwright's event loop runs until the session ends, and asyncio allows but one."""
    items.sort(key=lambda item: "chromium" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def chromium():
    """A browser; tests skip where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_search() -> Callable[[Any, tuple[int, int]], None]:
    """`open_search(page, place)` double clicks an empty place of the canvas until the search for nodes has opened."""

    def double_click(page: Any, place: tuple[int, int]) -> None:
        for attempt in range(1, 9):  # a page that is slow between the two clicks sees two single ones
            page.mouse.dblclick(*place)
            for _ in range(5 * attempt):
                page.wait_for_timeout(200)
                if page.evaluate("() => document.activeElement.tagName === 'INPUT'"):
                    return
        raise AssertionError("double clicks open no search")

    return double_click


@pytest.fixture(autouse=True, scope="session")
def _two_threads():
    torch.set_num_threads(2)
