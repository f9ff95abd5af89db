"""Subgraph blueprints: drawn from the pieces of the shipped workflows, whole, and they run as part of a graph."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from small_graphs import SMALL, Probe

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "subgraphs").glob("*.json"))
TWO_STAGES = ROOT / "subgraphs" / "LTX-2 Two-Stage Text to Video.json"
TWIN = ROOT / "workflows" / "api" / "LTX-2 Text to Video Distilled.json"


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def document(request):
    return json.loads(request.param.read_text(encoding="ascii"))


@pytest.fixture
def used():
    """A workflow of the blueprint's node and a Save Video."""
    made = json.loads(TWO_STAGES.read_text())
    (instance,) = made["nodes"]
    instance["outputs"][0]["links"] = [1]
    save = {"id": 20, "type": "LTX2_SaveVideo", "mode": 0, "widgets_values": ["clip"], "outputs": []}
    save["inputs"] = [{"name": "video", "type": "VIDEO", "link": 1}]
    return {**made, "nodes": [instance, save], "links": [[1, instance["id"], 0, 20, 0, "VIDEO"]]}


def test_files_are_as_they_are_drawn(tool, object_info):
    drawn = {}
    for name, draw in tool("graphs").BLUEPRINTS.items():
        sheet = tool("sheet").Sheet(name, object_info)
        drawn[name] = tool("blueprint").text(tool("blueprint").blueprint(sheet, *draw(sheet)))
    assert {file.stem: file.read_text(encoding="ascii") for file in FILES} == drawn, "run python -m tools.workflows"


def test_it_is_one_node_named_like_its_file(document, request):
    (instance,), (definition,) = document["nodes"], document["definitions"]["subgraphs"]
    assert instance["type"] == definition["id"]
    assert instance["title"] == definition["name"] in request.node.name
    assert definition["description"].isascii()
    for end in ("inputs", "outputs"):
        assert [each["name"] for each in instance[end]] == [each["name"] for each in definition[end]]
        assert [each["type"] for each in instance[end]] == [each["type"] for each in definition[end]]


def test_links_inside_are_said_the_same_at_both_ends(document, object_info):
    (definition,) = document["definitions"]["subgraphs"]
    nodes = {node["id"]: node for node in definition["nodes"]}
    assert len({link["id"] for link in definition["links"]}) == len(definition["links"])
    for link in definition["links"]:
        start, end = nodes.get(link["origin_id"]), nodes.get(link["target_id"])
        if start is None:
            assert link["origin_id"] == definition["inputNode"]["id"]
            assert definition["inputs"][link["origin_slot"]]["linkIds"] == [link["id"]]
        else:
            assert link["id"] in start["outputs"][link["origin_slot"]]["links"]
            assert start["outputs"][link["origin_slot"]]["type"] == link["type"]
        if end is None:
            assert definition["outputs"][link["target_slot"]]["linkIds"] == [link["id"]]
        else:
            assert end["inputs"][link["target_slot"]]["link"] == link["id"]
    for node in nodes.values():
        sides = object_info[node["type"]]["input"]
        assert {each["name"] for each in node["inputs"]} == {*sides.get("required", {}), *sides.get("optional", {})}


def test_two_stages_expose_what_people_change(used):
    names = [each["name"] for each in used["nodes"][0]["inputs"]]
    models = ["checkpoint", "text_encoder", "upsampler"]
    assert names == ["text", "width", "height", "frames", "frame_rate", "seed", *models]
    assert [(each["name"], each["type"]) for each in used["nodes"][0]["outputs"]] == [("video", "VIDEO")]


def read(executor, document, folder):
    from comfyui_ltx2.nodes.host.graph.document import read_graph

    (folder / "graph.json").write_text(json.dumps(document))
    return read_graph(folder / "graph.json", executor.infos())


def test_two_stages_are_the_shipped_workflow(executor_of, used, tmp_path):
    def plain(prompt):
        titles = {id: node["_meta"]["title"] for id, node in prompt.items()}
        return {
            titles[id]: {
                name: [titles[value[0]], value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
                if name != "filename_prefix"
            }
            for id, node in prompt.items()
        }

    inside = read(executor_of("2.3"), used, tmp_path).prompt
    inside["20"]["_meta"]["title"] = "Save Video"
    assert plain(inside) == plain(json.loads(TWIN.read_text()))


def test_a_graph_that_uses_it_runs(executor_of, used, tmp_path, output_folder):
    from comfyui_ltx2.nodes.host.headless.session import run_graph, saved_files

    executor = executor_of("2.3")
    graph = read(executor, used, tmp_path)
    for setting, value in SMALL["clip"].items():
        graph = graph.with_value(*setting.split("."), value, executor.infos())
    assert graph.workflow["nodes"][0]["widgets_values"][1:5] == [128, 128, 9, 24.0]
    (file,) = saved_files(run_graph(executor, graph), output_folder)
    made = Probe.of(file)
    assert made.video == (128, 128, 24, 9)
    saved = copy.deepcopy(made.tags["workflow"])
    assert read(executor, saved, tmp_path).prompt == made.tags["prompt"]
