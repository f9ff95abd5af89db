"""What the registry, the Manager and their checkers read: metadata, images, the list of nodes, how it is published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from setuptools.config.pyprojecttoml import load_file

ROOT = Path(__file__).resolve().parents[2]
RAW = "https://raw.githubusercontent.com/ltx2/comfyui-ltx2/main/"
# An unknown classifier makes the registry drop all of them.
CLASSIFIERS = {
    "Operating System :: OS Independent",
    "Environment :: GPU :: NVIDIA CUDA",
    "Environment :: GPU :: AMD ROCm",
    "Environment :: GPU :: Intel Arc",
    "Environment :: GPU :: Apple Metal",
}
REQUIREMENT = r"(==|>=|<=|!=|~=|>|<)\d+\.\d+\.\d+"
LAYERS = r"(?<![\w.])(?:torch\.)?nn\.(Linear|Conv[123]d|ConvTranspose[12]d|LayerNorm|GroupNorm|Embedding)\s*\("
DEVICES = r"""\.cuda\s*\(|\.to\s*\(\s*(torch\.device\s*\(\s*)?["']cuda"""
AUTOCAST = r"torch\.autocast\s*\(|torch\.(cuda\.)?amp\.autocast"


@pytest.fixture(scope="module")
def metadata() -> dict:
    return load_file(ROOT / "pyproject.toml")


@pytest.fixture(scope="module")
def images(tool_module):
    """The module that draws the icon and the banner."""
    return tool_module("publishing/images.py")


@pytest.fixture(scope="module")
def workflow() -> str:
    return (ROOT / ".github" / "workflows" / "publish.yml").read_text()


def test_the_metadata_is_what_the_registry_takes(metadata):
    project, comfy = metadata["project"], metadata["tool"]["comfy"]
    assert project["name"] == "comfyui-ltx2"
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert set(project["classifiers"]) <= CLASSIFIERS
    assert {"Repository", "Documentation", "Issues", "Bug Tracker"} <= set(project["urls"])
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert not project.get("dynamic")
    assert (comfy["PublisherId"], comfy["DisplayName"], comfy["includes"]) == ("ltx2", "LTX-2", [])
    assert re.fullmatch(REQUIREMENT, comfy["requires-comfyui"])
    # With it ComfyUI would load the extension twice, from two addresses.
    assert "web" not in comfy


def test_images_have_the_registrys_shapes(metadata):
    for key, shape in (("Icon", (400, 400)), ("Banner", (1260, 540))):
        address = metadata["tool"]["comfy"][key]
        assert address.startswith(RAW)
        file = ROOT / address.removeprefix(RAW)
        assert file.stat().st_size < 150_000
        with Image.open(file) as image:
            assert (image.format, image.size) == ("PNG", shape)


def test_images_are_as_the_tool_draws_them(images):
    for name in ("icon", "banner"):
        with Image.open(ROOT / "assets" / f"{name}.png") as kept:
            difference = ImageChops.difference(kept, getattr(images, name)())
        assert max(ImageStat.Stat(difference).rms) < 3, "run `python -m tools.publishing`"


def test_the_list_of_nodes_names_every_node_as_it_is_shown(tmp_path):
    from comfyui_ltx2.nodes import node_classes
    from comfyui_ltx2.nodes.host.headless.session import session

    listed = json.loads((ROOT / "node_list.json").read_text())
    with session(*(tmp_path / folder for folder in ("models", "input", "output"))):
        shown = {cls.GET_SCHEMA().node_id: cls.GET_SCHEMA().display_name for cls in node_classes()}
    assert listed == shown, "run `python -m tools.publishing`"
    frozen = json.loads((ROOT / "tests" / "nodes" / "public_interface.json").read_text())
    assert set(listed) == set(frozen)


def test_publishing_is_pinned_and_gated(workflow):
    used = re.findall(r"uses: (\S+)", workflow)
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used), used
    (version,) = set(re.findall(r"comfy-cli==([\d.]+)", workflow))
    assert f"comfy-cli=={version}" in (ROOT / "Makefile").read_text()
    assert "needs: check" in workflow
    assert workflow.index("node validate") < workflow.index("node publish")
    # A secret that is put into a script's text can be read in a log, and text from elsewhere can become commands.
    assert not [line for line in workflow.splitlines() if "${{" in line and "TOKEN: ${{ secrets." not in line]


def test_the_changelog_has_a_place_for_the_version(metadata):
    version = metadata["project"]["version"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", version)
    assert len(headings) == len(set(headings))


def test_what_comfy_test_refuses_is_what_contributing_justifies():
    for folder in ("ltx2", "nodes"):
        for file in (ROOT / folder).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            for line in file.read_text(encoding="utf-8").splitlines():
                assert not re.search(DEVICES, line), name
                assert not re.search(LAYERS, line) or name.startswith(("ltx2/layers/", "ltx2/networks/")), name
                assert not re.search(AUTOCAST, line) or "enabled=False" in line, name
    assert "comfy-test" in (ROOT / "CONTRIBUTING.md").read_text()
