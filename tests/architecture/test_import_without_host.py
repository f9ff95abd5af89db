"""The library imports where no ComfyUI is, and the pack's root imports next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Python loads a folder as ComfyUI does: by path, under a name of the caller's.
LOAD = """
import importlib.util, sys
def load(name, folder):
    spec = importlib.util.spec_from_file_location(name, folder + "/__init__.py", submodule_search_locations=[folder])
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
"""

LIBRARY = """
import importlib, pkgutil
for name in ("comfy", "comfy_api", "folder_paths", "nodes", "server", "execution"):
    sys.modules[name] = None  # importing it raises ImportError
count = 0
for module in pkgutil.walk_packages(load("ltx2", sys.argv[1] + "/ltx2").__path__, "ltx2."):
    importlib.import_module(module.name)
    count += 1
print(count)
"""

PACK = """
before = set(sys.modules)
pack = load("/some/custom_nodes/comfyui-ltx2", sys.argv[1])
import inspect, os
assert inspect.iscoroutinefunction(pack.comfy_entrypoint)
assert os.path.isdir(os.path.join(sys.argv[1], pack.WEB_DIRECTORY))
print(",".join(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)))
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD + script, str(ROOT)], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_of_the_library_imports_without_comfyui():
    assert int(run(LIBRARY)) >= 10


def test_the_root_imports_nothing_heavy():
    assert run(PACK) == "/some/custom_nodes/comfyui-ltx2"
