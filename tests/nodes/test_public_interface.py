"""The public surface: ids, sockets and input order. Saved workflows depend on them; inputs are only ever appended."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

FROZEN = Path(__file__).with_name("public_interface.json")
# Ids of others that start like ours (KJNodes).
TAKEN = {
    "LTX2_NAG",
    "LTX2BlockLoraSelect",
    "LTX2SamplingPreviewOverride",
    "LTX2AudioLatentNormalizingSampling",
    "LTX2AttentionTunerPatch",
    "LTX2MemoryEfficientSageAttentionPatch",
    "LTX2LoraLoaderAdvanced",
}


@pytest.fixture
def classes(pack, host):
    return pack("nodes").node_classes()


def interface(node):
    schema = node.GET_SCHEMA()
    info = node.GET_NODE_INFO_V1()
    inputs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    kinds = {name: spec[0] if isinstance(spec[0], str) else "COMBO" for name, spec in inputs.items()}
    order = [name for side in ("required", "optional") for name in info["input_order"].get(side, [])]
    required = list(info["input"].get("required", {}))
    return schema.node_id, {
        "inputs": [f"{name}: {kinds[name]}{'' if name in required else '?'}" for name in order],
        "outputs": [f"{name}: {kind}" for name, kind in zip(info["output_name"], info["output"], strict=True)],
    }


def test_the_frozen_interface_is_only_appended_to(classes):
    current = dict(interface(node) for node in classes)
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert set(frozen) <= set(current), "a node has gone"
    for node_id, was in frozen.items():
        for side in ("inputs", "outputs"):
            now = current[node_id][side]
            assert [item for item in now if item in was[side]] == was[side], f"{node_id}: {side} moved or changed"
    assert set(current) == set(frozen), f"new nodes must be frozen too: add them to {FROZEN.name}"
    assert current == frozen, f"appended inputs must be frozen too: add them to {FROZEN.name}"


def test_ids_collide_with_nobodys(classes):
    ids = [node.GET_SCHEMA().node_id for node in classes]
    assert len(set(ids)) == len(ids)
    for node_id in ids:
        assert re.fullmatch(r"LTX2_[A-Z][A-Za-z]+", node_id)
        assert node_id not in TAKEN


def test_every_node_and_input_explains_itself(classes):
    for node in classes:
        schema = node.GET_SCHEMA()
        assert schema.description
        assert schema.display_name.startswith("LTX-2 ")
        assert schema.category.startswith("LTX-2/")
        for given in schema.inputs:
            assert given.tooltip, f"{schema.node_id}.{given.id} has no tooltip"


def test_execute_takes_the_declared_inputs(classes):
    for node in classes:
        declared = {given.id: given for given in node.GET_SCHEMA().inputs}
        parameters = inspect.signature(node.execute).parameters
        assert set(parameters) == set(declared), node
        for name, given in declared.items():
            # Optional sockets are None, and widgets that were appended later have the default that they show.
            default = getattr(given, "default", None) if given.optional else inspect.Parameter.empty
            assert parameters[name].default == default, f"{node}.{name}"


def test_ids_are_literal_in_the_source():
    """Static scanners (ComfyUI Manager, comfy-test) cannot evaluate expressions."""
    sources = [path.read_text(encoding="utf-8") for path in (FROZEN.parents[2] / "nodes").glob("*.py")]
    literal = {node_id for text in sources for node_id in re.findall(r'node_id="(LTX2_\w+)"', text)}
    assert literal == set(json.loads(FROZEN.read_text(encoding="utf-8")))
