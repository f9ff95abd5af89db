"""UI workflows become API graphs as ComfyUI's frontend makes them, and values set in one form are set in both."""

from __future__ import annotations

import copy
import json

import pytest


@pytest.fixture
def infos(pack, host, make_node):
    io = pack("nodes.host.headless.io")
    model = io.Custom("MODEL_X")
    classes = [
        make_node(
            "Load",
            [io.Combo.Input("file", options=["a.safetensors", "b.safetensors"])],
            [model.Output()],
            display_name="Load Model",
        ),
        make_node("Patch", [model.Input("model"), io.Float.Input("strength", default=1.0)], [model.Output()]),
        make_node(
            "Sample",
            [
                model.Input("model"),
                model.Input("extra", optional=True),
                io.Int.Input("seed", default=0, control_after_generate=True),
                io.Int.Input("steps", default=8, min=1, max=50),
                io.String.Input("text", multiline=True),
                io.MultiType.Input(io.Float.Input("rate", default=24.0), [io.Int]),
                io.Float.Input("forced", force_input=True, optional=True),
                io.String.Input("late", default="new", optional=True),
            ],
            [io.Latent.Output()],
        ),
        make_node("Save", [io.Latent.Input("latent")], is_output_node=True, display_name="Save It"),
        *pack("nodes.host.headless.core_nodes").CORE_NODES,
    ]
    return pack("nodes.host.graph.schemas").node_infos(classes)


@pytest.fixture
def to_api(pack, infos):
    return lambda workflow: pack("nodes.host.graph.ui").to_api(workflow, infos)


@pytest.fixture
def graph(pack, infos, tmp_path):
    """Reads a JSON value as a graph file."""

    def read(document):
        path = tmp_path / "graph.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return pack("nodes.host.graph.document").read_graph(path, infos)

    return read


def node(id, type, *, inputs=(), outputs=(), widgets=None, mode=0, title=None):
    made = {"id": id, "type": type, "mode": mode, "pos": [0, 0]}
    made["inputs"] = [{"name": name, "type": kind, "link": link} for name, kind, link in inputs]
    made["outputs"] = [{"name": kind, "type": kind, "links": links} for kind, links in outputs]
    if widgets is not None:
        made["widgets_values"] = widgets
    return made | ({"title": title} if title else {})


def workflow():
    """Load -> Patch -> Reroute -> Sample <- Primitive, Sample -> Save, with a note."""
    return {
        "version": 0.4,
        "last_node_id": 9,
        "last_link_id": 6,
        "groups": [],
        "nodes": [
            node(1, "Load", outputs=[("MODEL_X", [1])], widgets=["b.safetensors"], title="My model"),
            node(2, "Patch", inputs=[("model", "MODEL_X", 1)], outputs=[("MODEL_X", [2])], widgets=[0.5]),
            node(3, "Reroute", inputs=[("", "*", 2)], outputs=[("MODEL_X", [3])]),
            node(
                4,
                "Sample",
                inputs=[("model", "MODEL_X", 3), ("steps", "INT", 4)],
                outputs=[("LATENT", [5])],
                widgets=[123, "randomize", 20, "a cat", 25],
            ),
            node(5, "PrimitiveNode", outputs=[("INT", [4])], widgets=[30, "fixed"]),
            node(6, "Save", inputs=[("latent", "LATENT", 5)]),
            node(7, "MarkdownNote", widgets=["# Read me"]),
            node(8, "Note", widgets=["old"]),
        ],
        "links": [
            [1, 1, 0, 2, 0, "MODEL_X"],
            [2, 2, 0, 3, 0, "MODEL_X"],
            [3, 3, 0, 4, 0, "MODEL_X"],
            [4, 5, 0, 4, 1, "INT"],
            [5, 4, 0, 6, 0, "LATENT"],
        ],
    }


def changed(id, **fields):
    made = workflow()
    next(each for each in made["nodes"] if each["id"] == id).update(fields)
    return made


def test_a_workflow_becomes_the_prompt_that_the_frontend_sends(to_api):
    assert to_api(workflow()) == {
        "1": {"inputs": {"file": "b.safetensors"}, "class_type": "Load", "_meta": {"title": "My model"}},
        "2": {"inputs": {"strength": 0.5, "model": ["1", 0]}, "class_type": "Patch", "_meta": {"title": "Patch"}},
        "4": {
            "inputs": {
                "seed": 123,
                "steps": 30,
                "text": "a cat",
                "rate": 25,
                "late": "new",
                "model": ["2", 0],
            },
            "class_type": "Sample",
            "_meta": {"title": "Sample"},
        },
        "6": {"inputs": {"latent": ["4", 0]}, "class_type": "Save", "_meta": {"title": "Save It"}},
    }


def test_a_bypassed_node_is_looked_through(to_api):
    prompt = to_api(changed(2, mode=4))
    assert "2" not in prompt
    assert prompt["4"]["inputs"]["model"] == ["1", 0]


def test_a_muted_node_leaves_its_consumers_unconnected(to_api):
    prompt = to_api(changed(2, mode=2))
    assert "2" not in prompt
    assert "model" not in prompt["4"]["inputs"]


def test_widget_values_may_be_named(to_api):
    prompt = to_api(changed(4, widgets_values={"seed": 5, "text": "dog"}))
    assert prompt["4"]["inputs"] == {
        "seed": 5,
        "steps": 30,
        "text": "dog",
        "rate": 24.0,
        "late": "new",
        "model": ["2", 0],
    }


def test_links_may_be_objects(to_api):
    made = workflow()
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    made["links"] = [dict(zip(keys, link, strict=True)) for link in made["links"]]
    assert to_api(made) == to_api(workflow())


def test_the_upload_buttons_value_is_not_an_input(to_api):
    made = {"nodes": [node(1, "LoadImage", outputs=[("IMAGE", [])], widgets=["a.png", "image"])], "links": []}
    assert to_api(made)["1"]["inputs"] == {"image": "a.png"}


def test_unknown_classes_and_surplus_widgets_are_reported_together(to_api):
    made = changed(4, widgets_values=[0] * 9)
    made["nodes"].append(node(20, "Mystery"))
    with pytest.raises(ValueError) as caught:
        to_api(made)
    assert "unknown class 'Mystery'" in str(caught.value)
    assert "at most 6 widget values; it has 9" in str(caught.value)


def test_broken_links_are_refused(to_api):
    made = workflow()
    made["links"] = made["links"][1:]
    with pytest.raises(ValueError, match="link 1 is not"):
        to_api(made)
    with pytest.raises(ValueError, match="circle"):
        to_api(changed(3, inputs=[{"name": "", "type": "*", "link": 3}]))


def test_both_forms_are_read(graph, to_api):
    from_ui, from_api = graph(workflow()), graph(to_api(workflow()))
    assert from_ui.prompt == from_api.prompt
    assert from_ui.workflow == workflow()
    assert from_api.workflow is None


def test_the_twin_in_the_folder_api_brings_its_workflow(pack, infos, tmp_path, to_api):
    read, text = pack("nodes.host.graph.document").read_graph, pack("nodes.host.graph.document").api_text
    (tmp_path / "api").mkdir()
    twin = tmp_path / "api" / "a.json"
    twin.write_text(text(to_api(workflow())))
    (tmp_path / "a.json").write_text(json.dumps(workflow()))
    assert read(twin, infos).workflow == workflow()
    twin.write_text(text(to_api(changed(2, widgets_values=[0.25]))))
    assert read(twin, infos).workflow is None, "it says something else"


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"a": 1}', '{"a": {}}'])
def test_what_is_no_graph_is_refused(graph, text):
    with pytest.raises(ValueError, match="a graph must be"):
        graph(text)


def test_setting_a_widget_sets_both_forms(graph, to_api, infos):
    given = graph(workflow())
    before = copy.deepcopy(given.workflow)
    after = given.with_value("Sample", "text", "a dog", infos).with_value("4", "late", "x", infos)
    assert after.prompt["4"]["inputs"]["text"] == "a dog"
    assert after.workflow["nodes"][3]["widgets_values"] == [123, "randomize", 20, "a dog", 25, "x"]
    assert to_api(after.workflow) == after.prompt
    assert given.workflow == before


def test_setting_a_linked_widget_cuts_its_link(graph, to_api, infos):
    after = graph(workflow()).with_value("4", "steps", 9, infos)
    assert after.prompt["4"]["inputs"]["steps"] == 9
    assert to_api(after.workflow) == after.prompt
    assert [link[0] for link in after.workflow["links"]] == [1, 2, 3, 5]
    assert after.workflow["nodes"][4]["outputs"][0]["links"] == []


def test_nodes_are_found_by_id_or_title(graph):
    assert graph(workflow()).find("4", {}) == "4"
    assert graph(workflow()).find("My model", {}) == "1"
    assert graph(workflow()).find("my MODEL", {}) == "1"
    with pytest.raises(ValueError, match="no node 'My modell'; did you mean 'My model'"):
        graph(workflow()).find("My modell", {})
    with pytest.raises(ValueError, match="'My model' is nodes 1, 2"):
        graph(changed(2, title="My model")).find("My model", {})


def test_untitled_api_nodes_have_their_classs_name(graph, infos):
    assert graph({"7": {"class_type": "Load", "inputs": {}}}).find("Load Model", infos) == "7"


def test_inputs_that_cannot_be_set(graph, infos):
    with pytest.raises(ValueError, match=r"Sample \(node 4, Sample\) has no input 'step'; its inputs are 'steps'"):
        graph(workflow()).with_value("4", "step", 3, infos)
    with pytest.raises(ValueError, match="takes MODEL_X from another node"):
        graph(workflow()).with_value("4", "model", 3, infos)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("INT", "7", 7),
        ("FLOAT", "0.5", 0.5),
        ("BOOLEAN", "true", True),
        ("STRING", "42", "42"),
        ("STRING", "true", "true"),
        ("STRING", '"quoted"', "quoted"),
        ("STRING", "a = b", "a = b"),
        ("INT", "many", "many"),
        ("COMBO", "1.0", "1.0"),
        ("COMBO", "5", 5),
        ("COMBO", "6", "6"),
    ],
)
def test_typed_values(pack, kind, text, value):
    info = pack("nodes.host.graph.schemas").InputInfo("x", kind, {"options": ["1.0", 5]}, True)
    parsed = pack("nodes.host.graph.document").parse(text, info)
    assert (parsed, type(parsed)) == (value, type(value))
