"""What the registry hands out: every file that git tracks, less what .comfyignore names: the pack, not its workshop."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools.config.pyprojecttoml import load_file

# ComfyUI looks into these of its own accord.
READ_BY_COMFYUI = {"web", "workflows", "locales", "subgraphs"}
DOCUMENTS = {"README.md", "CHANGELOG.md", "LICENSE"}
# Installed from and by: pip, the Manager, the registry; and what tells type checkers that there are types.
READ_BY_INSTALLERS = {"pyproject.toml", "setup.py", "requirements.txt", "node_list.json", "py.typed"}
WORKSHOP = {"tests", "tools", "benchmarks", "assets", ".ci", ".github", "Makefile", "constraints.txt"}
LARGEST_FILE, LARGEST_ARCHIVE = 500_000, 10_000_000
# Loads the folder in argv[1] under a name that is no identifier, as ComfyUI does, and prints the ids of its nodes.
LOAD = """
import importlib, importlib.util, json, pathlib, sys
folder, name = pathlib.Path(sys.argv[1]), "custom_nodes/comfyui-ltx2"
spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
session = importlib.import_module(name + ".nodes.host.headless.session").session
with session(*(folder / kind for kind in ("models", "input", "output"))) as executor:
    print(json.dumps([each for each in executor.classes if each.startswith("LTX2_")]))
"""


def listed(root: Path, *options: str) -> set[str]:
    """Files that git tracks and that are there."""
    done = subprocess.run(["git", "ls-files", "-z", *options], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs a git checkout: {done.stderr.strip()}")
    return {name for name in done.stdout.split("\0") if name and (root / name).is_file()}


@pytest.fixture(scope="module")
def archive(root) -> set[str]:
    """The names of the published files."""
    assert load_file(root / "pyproject.toml")["tool"]["comfy"]["includes"] == []
    return listed(root) - listed(root, "--cached", "--ignored", "--exclude-from=.comfyignore")


def packages(root: Path) -> set[str]:
    return {path.parent.name for path in root.glob("*/__init__.py")}


def test_it_holds_all_of_the_pack(archive, root):
    for name in (*DOCUMENTS, *READ_BY_INSTALLERS, "__init__.py", "__main__.py", "cli.py"):
        assert name in archive, name
    for folder in ("client", "ltx2", "nodes", "web", "workflows", "subgraphs", "locales", "docs"):
        tracked = listed(root, "--", folder)
        assert tracked, folder
        assert tracked <= archive, folder


def test_it_holds_nothing_else(archive, root):
    folders = READ_BY_COMFYUI | packages(root) | {"docs"}
    strange = [
        name
        for name in sorted(archive)
        if name.partition("/")[0] not in folders
        if name not in DOCUMENTS | READ_BY_INSTALLERS
        if "/" in name or not name.endswith(".py")
    ]
    assert not strange, f"name it in .comfyignore, or here why it is published: {strange}"
    assert not {name.partition("/")[0] for name in archive} & WORKSHOP
    assert not [name for name in archive if any(part.startswith(".") for part in Path(name).parts)]


def test_every_line_of_comfyignore_leaves_something_out(root):
    for line in (root / ".comfyignore").read_text().split():
        assert listed(root, "--cached", "--ignored", f"--exclude={line}"), line


def test_workflows_come_with_thumbnail_and_twin(archive):
    workflows = {name for name in archive if name.startswith("workflows/") and name.count("/") == 1}
    stems = {name.removesuffix(".json") for name in workflows if name.endswith(".json")}
    assert stems
    assert workflows == {f"{stem}{suffix}" for stem in stems for suffix in (".json", ".jpg")}
    assert {f"workflows/api/{Path(stem).name}.json" for stem in stems} <= archive


def test_every_listed_node_has_its_help_page_in_it(archive, root):
    nodes = json.loads((root / "node_list.json").read_text())
    assert {f"web/docs/{name}.md" for name in nodes} <= archive


def test_it_is_small_and_holds_no_weights(archive, root):
    sizes = {name: (root / name).stat().st_size for name in archive}
    assert not {name: size for name, size in sizes.items() if size > LARGEST_FILE}
    assert sum(sizes.values()) < LARGEST_ARCHIVE
    assert not [name for name in archive if name.endswith((".safetensors", ".pt", ".bin", ".ckpt", ".mp4", ".zip"))]


def test_it_loads_by_itself(archive, root, tmp_path):
    for name in archive:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, tmp_path / name)
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == set(json.loads((root / "node_list.json").read_text()))
