"""Each rule that a graph must keep, with the error that ComfyUI has for it."""

from __future__ import annotations

import pytest


@pytest.fixture
def classes(pack, host, make_node):
    io = pack("nodes.host.headless.io")
    thing = io.Custom("THING")

    def validate_pair(cls, low, high):
        return True if low is None or high is None or low < high else "low must be below high; swap them"

    def validate_types(cls, input_types):
        return True if input_types == {"any": "THING"} else f"got {input_types}"

    made = [
        make_node("Thing", [io.Int.Input("size", default=64, min=64, max=512, step=32)], [thing.Output()]),
        make_node(
            "All",
            [
                io.Int.Input("whole", optional=True, min=0, max=2**53 - 1),
                io.Float.Input("real", optional=True, min=0.0, max=1.0, step=0.05),
                io.MultiType.Input(io.Float.Input("rate", optional=True, min=1.0, max=60.0), [io.Int]),
                io.Boolean.Input("flag", optional=True),
                io.String.Input("text", optional=True),
                io.Combo.Input("kind", options=["euler", "heun"], optional=True),
                io.Combo.Input("many", options=[f"o{i}" for i in range(21)], optional=True),
                thing.Input("thing", optional=True),
                io.AnyType.Input("any", optional=True),
            ],
            [io.Int.Output()],
            display_name="Everything",
        ),
        make_node(
            "Pair",
            [io.Int.Input("low", max=10), io.Int.Input("high", max=10), io.Int.Input("other", max=10, optional=True)],
            [io.Int.Output()],
            methods={"validate_inputs": validate_pair},
        ),
        make_node("Typed", [io.Int.Input("any")], [io.AnyType.Output()], methods={"validate_inputs": validate_types}),
        make_node("Out", [io.AnyType.Input("value")], is_output_node=True),
        make_node("Image", [io.Image.Input("image")], is_output_node=True),
        *pack("nodes.host.headless.core_nodes").CORE_NODES,
    ]
    return {cls.GET_SCHEMA().node_id: cls for cls in made}


@pytest.fixture
def validate(pack, classes):
    return lambda prompt: pack("nodes.host.headless.validation").validate(prompt, classes)


@pytest.fixture
def report(pack, validate):
    """The report of a graph that must not pass, with its text."""
    error = pack("nodes.host.graph.problems").GraphError

    def refuse(prompt):
        with pytest.raises(error) as caught:
            validate(prompt)
        return {**caught.value.report, "text": str(caught.value)}

    return refuse


@pytest.fixture
def only(report):
    """The one error of node "1", whose inputs are given, below an output node."""

    def refuse(class_type, **inputs):
        found = report(below_output(class_type, **inputs))
        assert found["error"]["type"] == "prompt_outputs_failed_validation"
        assert list(found["node_errors"]) == ["1"]
        node = found["node_errors"]["1"]
        assert (node["class_type"], node["dependent_outputs"]) == (class_type, ["9"])
        assert len(node["errors"]) == 1
        assert node["errors"][0].keys() == {"type", "message", "details", "extra_info"}
        return {**node["errors"][0], "text": found["text"]}

    return refuse


def below_output(class_type, **inputs):
    return {
        "1": {"class_type": class_type, "inputs": inputs},
        "9": {"class_type": "Out", "inputs": {"value": ["1", 0]}},
    }


def test_a_right_graph_passes_and_its_values_are_converted(validate):
    given = {
        "whole": "7",
        "real": 1,
        "rate": 24,
        "flag": True,
        "text": 5,
        "kind": "heun",
        "any": 3.5,
        "thing": ["2", 0],
    }
    prompt = below_output("All", **given) | {"2": {"class_type": "Thing", "inputs": {"size": 96.0}}}
    plan = validate(prompt)
    assert plan.order == ("2", "1", "9")
    assert plan.outputs == ("9",)
    assert plan.prompt["1"]["inputs"] == {**given, "whole": 7, "real": 1.0, "text": "5"}
    assert plan.prompt["2"]["inputs"]["size"] == 96
    assert prompt["1"]["inputs"]["whole"] == "7", "the graph that was given is not changed"


def test_nodes_that_no_output_needs_are_not_checked(validate):
    plan = validate(below_output("All") | {"5": {"class_type": "Thing", "inputs": {"size": 1}}})
    assert plan.order == ("1", "9")


def test_required_input(only):
    error = only("Thing")
    assert (error["type"], error["details"]) == ("required_input_missing", "size")
    assert error["extra_info"] == {"input_name": "size"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("whole", 9.7, "whole number"),
        ("whole", "many", "must be a number"),
        ("whole", True, "must be a number"),
        ("whole", None, "must be a number"),
        ("real", "nan", "finite"),
        ("real", float("nan"), "finite"),
        ("real", float("inf"), "finite"),
        ("rate", float("nan"), "finite"),
        ("flag", "false", "true or false"),
        ("text", None, "text"),
        ("text", {"__value__": ["a"]}, "text"),
        ("thing", 5, "link one"),
    ],
)
def test_wrong_type(only, name, value, words):
    error = only("All", **{name: value})
    assert error["type"] == "invalid_input_type"
    assert error["extra_info"].keys() == {"input_name", "input_config", "received_value", "exception_message"}
    assert error["extra_info"]["input_name"] == name
    assert words in error["text"]


@pytest.mark.parametrize(
    ("class_type", "name", "value", "kind", "message", "cure"),
    [
        ("Thing", "size", 32, "value_smaller_than_min", "Value 32 smaller than min of 64", "from 64 to 512"),
        ("Thing", "size", 513, "value_bigger_than_max", "Value 513 bigger than max of 512", "from 64 to 512"),
        ("Thing", "size", 500, "value_not_on_step", "multiple of the step 32 counted from 64", "choose 480 or 512"),
        ("All", "real", 0.33, "value_not_on_step", "step 0.05", "choose 0.3 or 0.35"),
        ("All", "rate", 61, "value_bigger_than_max", "Value 61 bigger than max of 60.0", "from 1.0 to 60.0"),
    ],
)
def test_ranges_and_steps(only, class_type, name, value, kind, message, cure):
    error = only(class_type, **{name: value})
    assert error["type"] == kind
    assert error["details"] == name
    assert error["extra_info"].keys() == {"input_name", "input_config", "received_value"}
    assert error["extra_info"]["received_value"] == value
    assert message in error["message"]
    assert cure in error["text"]


def test_float_steps_bear_binary_fractions(validate):
    for step in range(21):
        assert validate(below_output("All", real=step * 0.05)).order


def test_options(only):
    error = only("All", kind="eular")
    assert (error["type"], error["message"]) == ("value_not_in_list", "Value not in list")
    assert error["details"] == "kind: 'eular' not in ['euler', 'heun']"
    assert error["extra_info"]["input_config"][0] == "COMBO"
    assert "did you mean euler" in error["text"]
    long = only("All", many="x")
    assert long["details"] == "many: 'x' not in (list of length 21)"
    assert long["extra_info"]["input_config"] is None


def test_unknown_input(only):
    error = only("All", reel=0.5)
    assert (error["type"], error["extra_info"]) == ("unknown_input", {"input_name": "reel"})
    assert "did you mean 'real'?" in error["text"]


@pytest.mark.parametrize("link", [[], ["2"], ["2", 0, 0], [2, 0], ["2", "0"], ["2", True], ["2", 0.0]])
def test_bad_link(only, link):
    error = only("All", thing=link)
    assert error["type"] == "bad_linked_input"
    assert error["extra_info"]["received_value"] == link


def test_link_to_a_missing_node(only):
    error = only("All", thing=["77", 0])
    assert error["type"] == "exception_during_validation"
    assert error["extra_info"]["exception_type"] == "KeyError"
    assert "node '77' is not in the graph" in error["text"]


@pytest.mark.parametrize("slot", [1, -1])
def test_link_to_a_missing_slot(report, slot):
    prompt = below_output("All", thing=["2", slot]) | {"2": {"class_type": "Thing", "inputs": {"size": 64}}}
    (error,) = report(prompt)["node_errors"]["1"]["errors"]
    assert (error["type"], error["extra_info"]["exception_type"]) == ("exception_during_validation", "IndexError")


def test_wrong_socket_type(report):
    prompt = {
        "1": {"class_type": "Thing", "inputs": {"size": 64}},
        "9": {"class_type": "Image", "inputs": {"image": ["1", 0]}},
    }
    found = report(prompt)
    (error,) = found["node_errors"]["9"]["errors"]
    assert error["type"] == "return_type_mismatch"
    assert error["details"] == "image, received_type(THING) mismatch input_type(IMAGE)"
    assert error["extra_info"] == {
        "input_name": "image",
        "input_config": ["IMAGE", {}],
        "received_type": "THING",
        "linked_node": ["1", 0],
    }
    assert found["error"]["details"] == f"{error['message']}: {error['details']}", "of the output nodes"


def test_ranges_of_values_that_arrive_over_links(report, validate):
    graph = below_output("All", rate=["2", 0])
    validate(graph | {"2": {"class_type": "PrimitiveInt", "inputs": {"value": 24}}})
    found = report(graph | {"2": {"class_type": "PrimitiveInt", "inputs": {"value": 0}}})
    (error,) = found["node_errors"]["1"]["errors"]
    assert (error["type"], error["extra_info"]["received_value"]) == ("value_smaller_than_min", 0)


def test_cycle(report):
    prompt = {
        "1": {"class_type": "All", "inputs": {"any": ["3", 0]}},
        "3": {"class_type": "All", "inputs": {"any": ["1", 0]}},
        "9": {"class_type": "Out", "inputs": {"value": ["1", 0]}},
    }
    found = report(prompt)
    assert found["node_errors"].keys() == {"1", "3"}
    for node_id in ("1", "3"):
        (error,) = found["node_errors"][node_id]["errors"]
        assert (error["type"], error["message"]) == ("dependency_cycle", "Dependency cycle detected")
        assert error["details"] == "1 (All) -> 3 (All) -> 1 (All)"
        assert error["extra_info"] == {"node_id": node_id, "cycle_nodes": ["1", "3"]}


def test_a_node_linked_to_itself_is_a_cycle(only):
    assert only("All", any=["1", 0])["type"] == "dependency_cycle"


def test_deep_graphs_are_no_problem(validate):
    chain = {str(i): {"class_type": "All", "inputs": {"any": [str(i + 1), 0]}} for i in range(3000)}
    last = {"3000": {"class_type": "All", "inputs": {}}, "out": {"class_type": "Out", "inputs": {"value": ["0", 0]}}}
    assert validate(chain | last).order[0] == "3000"


def test_unknown_class(report):
    found = report(below_output("Thin") | {"1": {"class_type": "Thin", "inputs": {}, "_meta": {"title": "Mine"}}})
    assert found["error"] == {
        "type": "missing_node_type",
        "message": "Node 'Mine' not found. The custom node may not be installed.",
        "details": "Node ID '#1'",
        "extra_info": {"node_id": "1", "class_type": "Thin", "node_title": "Mine"},
    }
    assert found["node_errors"] == {}
    assert "did you mean Thing?" in found["text"]


def test_node_without_a_class(report):
    error = report({"4": {"inputs": {}}})["error"]
    assert error["type"] == "missing_node_type"
    assert error["extra_info"] == {"node_id": "4", "class_type": None, "node_title": None}


def test_graph_without_outputs(report):
    assert report({"1": {"class_type": "All", "inputs": {}}})["error"]["type"] == "prompt_no_outputs"
    assert report({})["error"]["type"] == "prompt_no_outputs"


@pytest.mark.parametrize("prompt", [None, [], {"1": 5}])
def test_what_is_no_graph(report, prompt):
    assert report(prompt)["error"]["type"] == "no_prompt"


def test_a_node_checks_its_own_inputs(report, validate):
    validate(below_output("Pair", low=1, high=2))
    found = report(below_output("Pair", low=3, high=2))
    errors = found["node_errors"]["1"]["errors"]
    assert [error["type"] for error in errors] == ["custom_validation_failed"]
    assert errors[0]["details"] == "low - low must be below high; swap them"
    assert errors[0]["extra_info"] == {"input_name": "low"}


@pytest.mark.parametrize(("answer", "named"), [("b is wrong", ["b"]), ("bad", [None]), (False, ["a", "b"])])
def test_an_answer_of_a_nodes_own_check_is_reported_once(pack, host, make_node, answer, named):
    whole = pack("nodes.host.headless.io").Int
    checks = {"validate_inputs": lambda cls, a, b: answer}
    node = make_node("Own", [whole.Input("a"), whole.Input("b")], is_output_node=True, methods=checks)
    with pytest.raises(pack("nodes.host.graph.problems").GraphError) as caught:
        pack("nodes.host.headless.validation").validate(
            {"1": {"class_type": "Own", "inputs": {"a": 1, "b": 2}}}, {"Own": node}
        )
    errors = caught.value.report["node_errors"]["1"]["errors"]
    assert [error["extra_info"].get("input_name") for error in errors] == named
    assert str(answer) in str(caught.value) or answer is False


def test_what_computes_with_a_network_comes_last(pack, host, make_node):
    """Order by the links alone would compute (3) before the other loader (4) and the size (6)."""
    io = pack("nodes.host.headless.io")
    model, size = io.Custom("MODEL_WIRE"), io.Custom("SIZE")
    made = [
        make_node("Load", [io.String.Input("file")], [model.Output()], category="x/loaders"),
        make_node("Change", [model.Input("model")], [model.Output()], category="x/loaders"),
        make_node("Compute", [model.Input("model"), io.AnyType.Input("on", optional=True)], [io.Int.Output()]),
        make_node("Size", [], [size.Output()]),
        make_node("Out", [io.AnyType.Input(name) for name in "abc"], is_output_node=True),
    ]
    prompt = {
        "1": {"class_type": "Load", "inputs": {"file": "one"}},
        "2": {"class_type": "Change", "inputs": {"model": ["1", 0]}},
        "3": {"class_type": "Compute", "inputs": {"model": ["2", 0]}},
        "4": {"class_type": "Load", "inputs": {"file": "two"}},
        "5": {"class_type": "Compute", "inputs": {"model": ["4", 0], "on": ["3", 0]}},
        "6": {"class_type": "Size", "inputs": {}},
        "7": {"class_type": "Out", "inputs": {"a": ["3", 0], "b": ["5", 0], "c": ["6", 0]}},
    }
    classes = {cls.GET_SCHEMA().node_id: cls for cls in made}
    plan = pack("nodes.host.headless.validation").validate(prompt, classes)
    assert plan.order == ("1", "2", "4", "6", "3", "5", "7")


@pytest.mark.parametrize("name", ["LTX-2 Text to Video", "LTX-2 Text to Video Distilled"])
def test_loaders_sizes_and_empty_latents_come_before_the_first_prompt(pack, tiny_models, tmp_path, api_prompt, name):
    session = pack("nodes.host.headless.session").session
    with session(tiny_models("2.3"), tmp_path, tmp_path, device="cpu") as executor:
        plan = executor.validate(api_prompt(name))
    kinds = [plan.prompt[node_id]["class_type"] for node_id in plan.order]
    ahead = set(kinds[: kinds.index("LTX2_EncodePrompt")])
    assert {kind for kind in kinds if "Load" in kind} <= ahead
    assert {"LTX2_Canvas", "LTX2_EmptyLatents"} <= ahead
    assert not ahead & {"LTX2_Sample", "LTX2_DecodeVideo", "LTX2_UpsampleLatent", "LTX2_Guider"}


def test_inputs_that_a_node_checks_itself_lose_the_range(validate, only):
    validate(below_output("Pair", low=1, high=99))
    assert only("Pair", low=1, high=2, other=99)["type"] == "value_bigger_than_max"


def test_linked_inputs_reach_the_nodes_check_as_none(validate):
    number = {"2": {"class_type": "PrimitiveInt", "inputs": {"value": 5}}}
    assert "2" in validate(below_output("Pair", low=["2", 0], high=1) | number).order


def test_a_node_may_check_link_types_itself(validate):
    thing = {"2": {"class_type": "Thing", "inputs": {"size": 64}}}
    assert "2" in validate(below_output("Typed", any=["2", 0]) | thing).order


def test_everything_is_reported_at_once(report):
    prompt = {
        "1": {"class_type": "Thing", "inputs": {"size": 1}, "_meta": {"title": "My thing"}},
        "2": {"class_type": "All", "inputs": {"thing": ["1", 0], "kind": "x", "real": 2.0, "bogus": 1}},
        "3": {"class_type": "Nothing", "inputs": {}},
        "4": {"class_type": "Less", "inputs": {}},
        "8": {"class_type": "Image", "inputs": {}},
        "9": {"class_type": "Out", "inputs": {"value": ["2", 0]}},
    }
    found = report(prompt)
    assert found["error"]["extra_info"]["node_id"] == "3"
    kinds = {id: sorted(error["type"] for error in node["errors"]) for id, node in found["node_errors"].items()}
    assert kinds == {
        "1": ["value_smaller_than_min"],
        "2": ["unknown_input", "value_bigger_than_max", "value_not_in_list"],
        "4": ["missing_node_type"],
        "8": ["required_input_missing"],
    }
    assert found["node_errors"]["1"]["dependent_outputs"] == ["9"]
    for words in ("My thing (node 1, Thing): input 'size'", "Everything (node 2, All)", "(node 8, Image)"):
        assert words in found["text"]
