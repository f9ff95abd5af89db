"""UI workflows with subgraphs: taken apart as the frontend does, and changed where people see the values."""

from __future__ import annotations

import copy
import json

import pytest


@pytest.fixture
def infos(pack, host, make_node):
    io = pack("nodes.host.headless.io")
    model = io.Custom("MODEL_X")
    classes = [
        make_node("Load", [io.String.Input("file", default="a")], [model.Output()]),
        make_node("Patch", [model.Input("model"), io.Float.Input("strength", default=1.0)], [model.Output()]),
        make_node("Save", [model.Input("model"), io.Int.Input("seed", default=0)], is_output_node=True),
    ]
    return pack("nodes.host.graph.schemas").node_infos(classes)


@pytest.fixture
def to_api(pack, infos):
    return lambda workflow: pack("nodes.host.graph.ui").to_api(workflow, infos)


@pytest.fixture
def graph(pack, infos, tmp_path):
    """Reads a JSON value as a graph file."""

    def read(document):
        (tmp_path / "graph.json").write_text(json.dumps(document))
        return pack("nodes.host.graph.document").read_graph(tmp_path / "graph.json", infos)

    return read


def node(id, type, inputs=(), widgets=(), **more):
    """`inputs`: (name, link) of sockets, (name, link, True) of widgets."""
    made = [
        {"name": name, "type": "*", "link": link, **({"widget": {"name": name}} if is_widget else {})}
        for name, link, *is_widget in inputs
    ]
    outputs = [{"name": "out", "type": "MODEL_X", "links": []}]
    return {
        "id": id,
        "type": type,
        "mode": 0,
        "inputs": made,
        "outputs": outputs,
        "widgets_values": list(widgets),
        **more,
    }


def subgraph(id, nodes, links, inputs, outputs=("out",)):
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    return {
        "id": id,
        "nodes": nodes,
        "links": [dict(zip(ends, link, strict=True)) for link in links],
        "inputs": [{"name": name, "type": "*"} for name in inputs],
        "outputs": [{"name": name, "type": "*"} for name in outputs],
    }


def workflow(**instance):
    """Load -> instance (two patches; their strengths and its `strength`) -> Save. The patch inside is node 1."""
    twice = subgraph(
        "twice",
        [
            node(1, "Patch", [("model", 1), ("strength", 4, True)], [0.1], title="First"),
            node(2, "Patch", [("model", 2), ("strength", None, True)], [0.2], title="Second"),
        ],
        [(1, -10, 0, 1, 0), (2, 1, 0, 2, 0), (3, 2, 0, -20, 0), (4, -10, 1, 1, 1)],
        ["model", "strength"],
    )
    shown = node(5, "twice", [("model", 1), ("strength", None, True)], **instance)
    return {
        "nodes": [node(1, "Load", widgets=["b"]), shown, node(6, "Save", [("model", 2)], [7])],
        "links": [[1, 1, 0, 5, 0, "MODEL_X"], [2, 5, 0, 6, 0, "MODEL_X"]],
        "definitions": {"subgraphs": [twice]},
    }


def inputs(prompt):
    return {id: each["inputs"] for id, each in prompt.items()}


def test_inner_nodes_take_the_place_of_the_subgraph(to_api):
    assert inputs(to_api(workflow())) == {
        "1": {"file": "b"},
        "5:1": {"strength": 0.1, "model": ["1", 0]},
        "5:2": {"strength": 0.2, "model": ["5:1", 0]},
        "6": {"seed": 7, "model": ["5:2", 0]},
    }
    assert to_api(workflow())["5:2"]["_meta"] == {"title": "Second"}


@pytest.mark.parametrize(
    "held",
    [
        {"widgets_values": [0.9]},
        {"widgets_values": {"strength": 0.9}},
        {"widgets_values": [0.3], "widgets_values_named": {"strength": 0.9}},
        {"widgets_values": [0.7, 0.9], "properties": {"proxyWidgets": [["2", "strength"], ["-1", "strength"]]}},
        {"widgets_values": [0.7, 0.9], "properties": {"proxyWidgets": [["2", "strength"], ["1", "strength"]]}},
    ],
)
def test_what_the_subgraphs_node_holds_goes_before_what_is_inside(to_api, held):
    prompt = to_api(workflow(**held))
    assert prompt["5:1"]["inputs"]["strength"] == 0.9
    assert prompt["5:2"]["inputs"]["strength"] == 0.2


def nested():
    """The subgraph of `workflow` within another, and Load within a third."""
    made = workflow()
    inner = node(8, "twice", [("model", 1), ("strength", 2, True)])
    links = [(1, -10, 0, 8, 0), (2, -10, 1, 8, 1), (3, 8, 0, -20, 0)]
    around = subgraph("around", [inner], links, ["model", "force"])
    source = subgraph("source", [node(1, "Load", widgets=["c"])], [(1, 1, 0, -20, 0)], [])
    made["definitions"]["subgraphs"] += [around, source]
    made["nodes"][0] = node(1, "source")
    made["nodes"][1] = node(5, "around", [("model", 1), ("force", None, True)], [0.5])
    return made


def test_subgraphs_nest(to_api):
    assert inputs(to_api(nested())) == {
        "1:1": {"file": "c"},
        "5:8:1": {"strength": 0.5, "model": ["1:1", 0]},
        "5:8:2": {"strength": 0.2, "model": ["5:8:1", 0]},
        "6": {"seed": 7, "model": ["5:8:2", 0]},
    }


def test_muted_and_bypassed_subgraphs(to_api):
    assert inputs(to_api(workflow(mode=2))) == {"1": {"file": "b"}, "6": {"seed": 7}}
    made = workflow(mode=4)
    made["nodes"][1]["inputs"][0]["type"] = "MODEL_X"
    assert inputs(to_api(made)) == {"1": {"file": "b"}, "6": {"seed": 7, "model": ["1", 0]}}


def test_a_subgraph_that_contains_itself_is_refused(to_api):
    made = workflow()
    made["definitions"]["subgraphs"][0]["nodes"][1]["type"] = "twice"
    with pytest.raises(ValueError, match="does one contain itself"):
        to_api(made)


def test_a_missing_link_inside_is_refused(to_api):
    made = workflow()
    del made["definitions"]["subgraphs"][0]["links"][1]
    with pytest.raises(ValueError, match="link 2 is not"):
        to_api(made)


def agree(graph, to_api):
    return graph.prompt == to_api(graph.workflow)


def test_a_promoted_value_is_set_on_the_subgraphs_node(graph, infos, to_api):
    for document, id in ((workflow(), "5:1"), (nested(), "5:8:1")):
        before = graph(document)
        after = before.with_value("First", "strength", 0.75, infos)
        assert after.prompt[id]["inputs"]["strength"] == 0.75
        assert after.workflow["nodes"][1]["widgets_values"] == [0.75]
        assert after.workflow["definitions"] == document["definitions"]
        assert before.workflow == document
        assert agree(after, to_api)


def test_what_else_the_subgraphs_node_holds_keeps_its_value(graph, infos, to_api):
    document = workflow()
    twice = document["definitions"]["subgraphs"][0]
    twice["nodes"][1]["inputs"][1]["link"] = 5
    twice["links"].append({"id": 5, "origin_id": -10, "origin_slot": 2, "target_id": 2, "target_slot": 1})
    twice["inputs"].append({"name": "more", "type": "FLOAT"})
    document["nodes"][1]["inputs"].append({"name": "more", "type": "*", "widget": {"name": "more"}, "link": None})
    after = graph(document).with_value("Second", "strength", 0.75, infos)
    assert after.workflow["nodes"][1]["widgets_values"] == [0.1, 0.75]
    assert agree(after, to_api)


def test_a_value_inside_is_set_for_one_of_two_instances(graph, infos, to_api):
    document = workflow()
    document["nodes"] += [node(9, "twice", [("model", 3)]), node(10, "Save", [("model", 4)])]
    document["links"] += [[3, 1, 0, 9, 0, "MODEL_X"], [4, 9, 0, 10, 0, "MODEL_X"]]
    before = copy.deepcopy(document)
    after = graph(document).with_value("9:2", "strength", 0.75, infos)
    assert after.prompt["9:2"]["inputs"]["strength"] == 0.75
    assert after.prompt["5:2"]["inputs"]["strength"] == 0.2
    assert document == before
    assert len(after.workflow["definitions"]["subgraphs"]) == 2
    assert agree(after, to_api)


def test_a_link_inside_that_feeds_a_widget_is_cut(graph, infos, to_api):
    document = workflow()
    twice = document["definitions"]["subgraphs"][0]
    twice["nodes"].append({"id": 3, "type": "PrimitiveNode", "outputs": [{"links": [5]}], "widgets_values": [0.4]})
    twice["links"].append({"id": 5, "origin_id": 3, "origin_slot": 0, "target_id": 2, "target_slot": 1})
    twice["nodes"][1]["inputs"][1]["link"] = 5
    before = graph(document)
    assert before.prompt["5:2"]["inputs"]["strength"] == 0.4
    after = before.with_value("Second", "strength", 0.75, infos)
    assert after.prompt["5:2"]["inputs"]["strength"] == 0.75
    assert agree(after, to_api)
