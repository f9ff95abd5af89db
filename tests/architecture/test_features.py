"""docs/features.md: every feature names nodes, workflows and tests that exist, and no workflow goes unnamed."""

from __future__ import annotations

import ast
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def rows() -> list[list[str]]:
    lines = (ROOT / "docs" / "features.md").read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]


def test_nodes_exist():
    known = set(json.loads((ROOT / "tests" / "nodes" / "public_interface.json").read_text()))
    named = {f"LTX2_{name}" for row in rows() for name in row[1].split()}
    assert named <= known


def test_every_workflow_is_named_and_exists():
    named = {row[2] for row in rows()} - {""}
    assert named == {file.stem for file in (ROOT / "workflows").glob("*.json")}


def test_every_feature_has_a_test():
    for feature, *_, test in rows():
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        assert name in functions, feature
