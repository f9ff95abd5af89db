"""The lists of versions agree with each other: what the pack needs, what it is developed with, what is promised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools.config.pyprojecttoml import load_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project() -> dict:
    return load_file(ROOT / "pyproject.toml")["project"]


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_requirements_mirror_the_dependencies(project):
    assert (ROOT / "requirements.txt").read_text().splitlines() == project["dependencies"]


def test_the_pack_needs_lower_bounds_only(project):
    for line in project["dependencies"]:
        (bound,) = Requirement(line).specifier
        assert bound.operator == ">=", line


def test_development_versions_are_pinned_and_within_the_bounds(project, pinned):
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(line)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, line
    assert pinned["torch"] == "2.13.0"


def test_contributing_tells_the_bounds(project):
    told = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    bounds = {Requirement(line).name: str(Requirement(line).specifier)[2:] for line in project["dependencies"]}
    assert told == {
        "Python": project["requires-python"].removeprefix(">="),
        "torch": bounds["torch"],
        "transformers": bounds["transformers"],
    }
