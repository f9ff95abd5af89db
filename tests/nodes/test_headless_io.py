"""The stand-in vocabulary says of a node what ComfyUI 0.33 says, and gives nodes what ComfyUI gives them."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def io(pack):
    return pack("nodes.host.headless.io")


def entry(each):
    """How an input appears in /object_info."""
    return [each.get_io_type(), {k: v for k, v in each.as_dict().items() if k != "optional"}]


def test_number_inputs(io):
    width = io.Int.Input("width", default=768, min=64, max=4096, step=32, tooltip="Pixels.")
    assert entry(width) == ["INT", {"tooltip": "Pixels.", "default": 768, "min": 64, "max": 4096, "step": 32}]
    seed = io.Int.Input("seed", default=0, min=0, max=2**53 - 1, control_after_generate=True)
    assert entry(seed)[1]["control_after_generate"] is True
    strength = io.Float.Input("strength", default=1.0, step=0.05, round=0.01, display_mode=io.NumberDisplay.slider)
    assert entry(strength) == ["FLOAT", {"default": 1.0, "step": 0.05, "round": 0.01, "display": "slider"}]


def test_text_boolean_and_combo_inputs(io):
    assert entry(io.String.Input("text", multiline=True, dynamic_prompts=False)) == [
        "STRING",
        {"multiline": True, "dynamicPrompts": False},
    ]
    assert entry(io.String.Input("name"))[1] == {"multiline": False}
    assert entry(io.Boolean.Input("on", default=False, label_on="yes"))[1] == {"default": False, "label_on": "yes"}
    combo = io.Combo.Input("image", options=["a", "b"], upload=io.UploadType.image, image_folder=io.FolderType.input)
    expected = {"multiselect": False, "options": ["a", "b"], "image_upload": True, "image_folder": "input"}
    assert entry(combo) == ["COMBO", expected]


def test_sockets_and_extra_fields(io):
    assert entry(io.Custom("LTX2_CANVAS").Input("canvas", tooltip="t")) == ["LTX2_CANVAS", {"tooltip": "t"}]
    assert entry(io.Image.Input("image", extra_dict={"advanced": True}))[1] == {"advanced": True}
    forced = io.Float.Input("rate", force_input=True, socketless=False)
    assert entry(forced)[1] == {"socketless": False, "forceInput": True}
    assert io.Custom("A").Input("a").io_type == "A"
    assert io.Custom("B").Output().io_type == "B"
    assert io.AnyType.io_type == "*"


def test_an_input_of_several_types_keeps_its_widget(io):
    rate = io.MultiType.Input(io.Float.Input("frame_rate", default=24.0, min=1.0, tooltip="t"), [io.Int])
    assert entry(rate) == ["FLOAT,INT", {"default": 24.0, "widgetType": "FLOAT", "min": 1.0, "tooltip": "t"}]
    assert entry(io.MultiType.Input("any", [io.Mask, io.Image]))[0] == "MASK,IMAGE"


def test_object_info_has_the_keys_of_comfyui(io, make_node):
    node = make_node(
        "Probe",
        [io.Image.Input("image", optional=True), io.Int.Input("count", default=1)],
        [io.Image.Output(display_name="picture", tooltip="t"), io.Mask.Output()],
        display_name="A Probe",
        category="LTX-2/x",
        description="d",
        search_aliases=["p"],
        is_output_node=True,
        hidden=[io.Hidden.unique_id],
    )
    info = json.loads(json.dumps(node.GET_NODE_INFO_V1()))
    assert info == {
        "input": {
            "required": {"count": ["INT", {"default": 1}]},
            "optional": {"image": ["IMAGE", {}]},
            "hidden": {"unique_id": ["UNIQUE_ID"], "prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]},
        },
        "input_order": {
            "required": ["count"],
            "optional": ["image"],
            "hidden": ["unique_id", "prompt", "extra_pnginfo"],
        },
        "is_input_list": False,
        "output": ["IMAGE", "MASK"],
        "output_is_list": [False, False],
        "output_name": ["picture", "MASK"],
        "output_tooltips": ["t", None],
        "output_matchtypes": None,
        "name": "Probe",
        "display_name": "A Probe",
        "description": "d",
        "python_module": None,
        "category": "LTX-2/x",
        "output_node": True,
        "deprecated": False,
        "experimental": False,
        "dev_only": False,
        "api_node": False,
        "price_badge": None,
        "search_aliases": ["p"],
        "essentials_category": None,
        "has_intermediate_output": False,
    }


def test_ids_must_be_unique(io, make_node):
    with pytest.raises(ValueError, match="input ids must be unique"):
        make_node("Twice", [io.Int.Input("a"), io.Float.Input("a")]).GET_SCHEMA()


def test_nodes_run_on_a_locked_clone(pack, make_node):
    schema = pack("nodes.host.headless.schema")
    node = make_node("Probe")
    clone = schema.locked_clone(node, {"unique_id": "7"})
    assert clone.hidden.unique_id == "7"
    assert clone.hidden.prompt is None
    with pytest.raises(AttributeError, match="locked class"):
        clone.state = 1
    assert node.hidden.unique_id is None


def test_a_schema_leaves_out_what_the_host_does_not_know(host):
    schema = host.schema(node_id="A", description="d", invented_later=True)
    assert (schema.node_id, schema.description) == ("A", "d")


def test_ui_values(pack):
    ui, io = pack("nodes.host.headless.ui"), pack("nodes.host.headless.io")
    saved = ui.SavedResult("a.mp4", "clips", io.FolderType.output)
    expected = {"images": [{"filename": "a.mp4", "subfolder": "clips", "type": "output"}], "animated": (True,)}
    assert ui.PreviewVideo([saved]).as_dict() == expected
    assert ui.PreviewText("hi").as_dict() == {"text": ("hi",)}
