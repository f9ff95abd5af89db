"""Installing the pack leaves torch alone, and an installed wheel holds everything that the pack needs."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

MODULES = ["client/**/*.py", "ltx2/**/*.py", "nodes/**/*.py", "*.py"]
DATA = [
    "py.typed",
    "workflows/*.json",
    "workflows/*.jpg",
    "workflows/api/*.json",
    "subgraphs/*.json",
    "web/**/*",
    "locales/**/*.json",
    "ltx2/**/*.json",
    "nodes/**/*.json",
]
NO_NETWORK = ("No matching distribution", "Connection", "Retrying", "Temporary failure")


def pretend_installed(site_packages: Path, name: str, version: str) -> None:
    """Metadata is all that pip looks at: no need to install half a gigabyte to ask what it would replace."""
    info = site_packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text("")


@pytest.fixture
def environment(tmp_path) -> Path:
    """An empty virtual environment; its site-packages are where `pretend_installed` writes."""
    venv.create(tmp_path / "env", with_pip=False)
    return tmp_path / "env"


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def planned(environment: Path, wheel: Path, *options: str) -> subprocess.CompletedProcess:
    """What `pip install` would do there, as its JSON report on stdout."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--retries", "0"]
    command = [*pip, "--dry-run", "--quiet", "--report", "-", *options, str(wheel)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def names(report: str) -> set[str]:
    return {item["metadata"]["name"].lower() for item in json.loads(report)["install"]}


@pytest.mark.parametrize("version", ["2.11.0", "2.13.0"])
def test_a_dry_run_leaves_torch_alone(environment, wheel, version):
    pretend_installed(site_packages(environment), "torch", version)
    done = planned(environment, wheel)
    if done.returncode != 0 and any(sign in done.stderr for sign in NO_NETWORK):
        pytest.skip("needs a package index for what the pack depends on, and none answers")
    assert done.returncode == 0, done.stderr
    assert "comfyui-ltx2" in names(done.stdout)
    assert not {name for name in names(done.stdout) if name.startswith(("torch", "nvidia", "triton"))}


def test_where_every_lower_bound_is_met_nothing_else_is_installed(environment, wheel, root):
    for line in (root / "requirements.txt").read_text().split():
        pretend_installed(site_packages(environment), *line.split(">="))
    done = planned(environment, wheel, "--no-index")
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == {"comfyui-ltx2"}


def files(root: Path, patterns: list[str]) -> set[str]:
    found = {path.relative_to(root) for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return {f"comfyui_ltx2/{path.as_posix()}" for path in found - {Path("setup.py")}}


def test_every_folder_of_modules_is_a_package(root):
    """setup.py finds packages by their `__init__.py`: a folder without one would be missing in the wheel."""
    folders = {path.parent for pattern in MODULES for path in root.glob(pattern)}
    assert not [str(folder.relative_to(root)) for folder in folders if not (folder / "__init__.py").exists()]


def test_the_wheel_holds_every_module_and_all_data(wheel, root):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("comfyui_ltx2-")}
    assert sorted(held) == sorted(files(root, MODULES) | files(root, DATA))


def test_an_installed_wheel_runs_elsewhere(environment, wheel):
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    # What the pack depends on comes from the environment of this test.
    dependencies = Path(pytest.__file__).parents[1]
    (site_packages(environment) / "dependencies.pth").write_text(f"{dependencies}\n")
    show = "import comfyui_ltx2.cli; print(comfyui_ltx2.cli.__file__)"
    for command in (["ltx2", "--help"], ["python", "-m", "comfyui_ltx2", "--help"], ["python", "-c", show]):
        command[0] = str(environment / "bin" / command[0])
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr
        assert ("demo" if "--help" in command else str(environment)) in done.stdout
