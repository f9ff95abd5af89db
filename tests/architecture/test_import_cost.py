"""Importing every node brings in nothing besides torch, numpy and the standard library: packages come at first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

NODES = """
import importlib, importlib.util, sys
from pathlib import Path
import torch
before = set(sys.modules)
name = "/some/custom_nodes/comfyui-ltx2"
root = sys.argv[1]
spec = importlib.util.spec_from_file_location(name, root + "/__init__.py", submodule_search_locations=[root])
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
host = importlib.import_module(name + ".nodes.host.headless.host").HeadlessHost(device="cpu")
importlib.import_module(name + ".nodes.host").use(host)
assert len(importlib.import_module(name + ".nodes").node_classes()) >= 40
brought = {each.partition(".")[0] for each in set(sys.modules) - before} - sys.stdlib_module_names
print(",".join(sorted(each for each in brought if not each.startswith(name))))
"""


def test_the_nodes_import_no_package_besides_torch_and_numpy():
    command = [sys.executable, "-I", "-c", NODES, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    assert set(filter(None, done.stdout.strip().split(","))) <= {"numpy", "torch"}
