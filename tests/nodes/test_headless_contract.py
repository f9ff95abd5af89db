"""The stand-in vocabulary against ComfyUI's own, where a checkout is named by COMFYUI_DIR.

The real one runs in a child process: its modules have names (`nodes`, `utils`) that must not come near ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR names no ComfyUI checkout"),
]

# The stand-in follows this ComfyUI; what older ones do not say of a node, and which inputs and outputs came later, may
# be missing there. On this one and newer ones, nothing may.
FOLLOWED = (0, 33)
LATER = {
    "dev_only",
    "essentials_category",
    "has_intermediate_output",
    "is_input_list",
    "output_matchtypes",
    "price_badge",
    "search_aliases",
}

SCHEMAS = """
import dataclasses

def schemas(io):
    known = {field.name for field in dataclasses.fields(io.Schema)}
    schema = lambda **fields: io.Schema(**{name: value for name, value in fields.items() if name in known})
    rate = io.Float.Input("frame_rate", default=24.0, min=1.0, max=60.0, step=0.01, tooltip="t")
    yield schema(
        node_id="Widgets", display_name="W", category="LTX-2/x", description="d", search_aliases=["s"],
        is_experimental=True, essentials_category="Basics",
        inputs=[
            io.Int.Input("seed", default=0, min=0, max=2**53 - 1, control_after_generate=True),
            io.Int.Input("width", "Width", True, "tip", None, 64, 32, 4096, 32),
            io.Float.Input("f", default=1.0, round=0.01, display_mode=io.NumberDisplay.slider, socketless=True),
            io.String.Input("text", multiline=True, placeholder="p", default="x", dynamic_prompts=False),
            io.Boolean.Input("on", default=True, label_on="yes", label_off="no", force_input=True),
            io.Combo.Input("pick", options=["a", "b"], default="b", extra_dict={"advanced": True}),
            io.Combo.Input("image", options=[], upload=io.UploadType.image, image_folder=io.FolderType.input),
            io.MultiType.Input(rate, [io.Int]),
            io.MultiType.Input("either", [io.Mask, io.Image], optional=True, tooltip="e"),
            io.Custom("LTX2_CANVAS").Input("canvas", optional=True, tooltip="c"),
            io.AnyType.Input("any", lazy=True),
        ],
        outputs=[io.Latent.Output("video", "video", "v"), io.Custom("X").Output(display_name="x"), io.Audio.Output()],
    )
    yield schema(node_id="Saves", is_output_node=True, hidden=[io.Hidden.unique_id], inputs=[io.Video.Input("v")])
    yield schema(node_id="Bare", outputs=[io.Sigmas.Output()], is_deprecated=True, not_idempotent=True)


def infos(io):
    for schema in schemas(io):
        methods = {"define_schema": classmethod(lambda cls: schema), "execute": classmethod(lambda cls: None)}
        yield type("Probe", (io.ComfyNode,), methods).GET_NODE_INFO_V1()
"""

REAL = """
import json, sys
sys.argv = ["x", "--cpu"]
sys.path.insert(0, {comfyui!r})
import comfy.options
comfy.options.enable_args_parsing()
from comfy_api.latest import io, ui
saved = ui.SavedResult("a.mp4", "s", io.FolderType.output)
shown = ui.PreviewVideo([saved]).as_dict(), ui.PreviewText("t").as_dict()
print(json.dumps([list(infos(io)), shown]))
"""


CORE = """
import asyncio, json, sys
sys.argv = ["x", "--cpu", "--base-directory", {folder!r}]
sys.path.insert(0, {comfyui!r})
import comfy.options
comfy.options.enable_args_parsing()
import nodes
import comfy_extras.nodes_audio, comfy_extras.nodes_video, comfy_extras.nodes_primitive
mappings = dict(nodes.NODE_CLASS_MAPPINGS)
async def add(module):
    for cls in await (await module.comfy_entrypoint()).get_node_list():
        mappings[cls.GET_SCHEMA().node_id] = cls
for name in ("audio", "video", "primitive"):
    asyncio.run(add(getattr(comfy_extras, "nodes_" + name)))
def surface(cls):
    inputs = {{group: list(entries) for group, entries in cls.INPUT_TYPES().items() if group != "hidden"}}
    inputs = {{group: names for group, names in inputs.items() if names}}
    kinds = [kind if isinstance(kind, str) else "COMBO" for kind in cls.RETURN_TYPES]
    return [inputs, kinds, list(getattr(cls, "RETURN_NAMES", None) or kinds), bool(getattr(cls, "OUTPUT_NODE", False))]
print(json.dumps({{name: surface(mappings[name]) for name in {names!r}}}))
"""


def version() -> tuple[int, ...]:
    """Of the ComfyUI that COMFYUI_DIR names: (0, 33)."""
    text = (Path(os.environ["COMFYUI_DIR"]) / "comfyui_version.py").read_text(encoding="utf-8")
    return tuple(int(part) for part in text.rpartition("=")[2].strip().strip('"').split(".")[:2])


def printed_by_comfyui(script: str) -> str:
    """The last line that a script prints under ComfyUI's Python (COMFYUI_PYTHON, else this one)."""
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    real = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    assert real.returncode == 0, real.stderr
    return real.stdout.splitlines()[-1]


def test_core_nodes_have_comfyuis_inputs_and_outputs(pack, host, tmp_path):
    """By name, type and order; versions differ in how many outputs a node has, never in which."""
    ours = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes.host.headless.core_nodes").CORE_NODES}
    comfyui = str(Path(os.environ["COMFYUI_DIR"]).resolve())
    (tmp_path / "input").mkdir(exist_ok=True)
    real = json.loads(printed_by_comfyui(CORE.format(comfyui=comfyui, folder=str(tmp_path), names=sorted(ours))))
    for name, cls in ours.items():
        info = cls.GET_NODE_INFO_V1()
        inputs = {group: names for group, names in info["input_order"].items() if names and group != "hidden"}
        real_inputs, kinds, names, is_output_node = real[name]
        assert [inputs, info["output_node"]] == [real_inputs, is_output_node], name
        shared = len(kinds) if version() < FOLLOWED else len(info["output"])
        assert len(kinds) <= len(info["output"]) or version() > FOLLOWED, name
        assert [info["output"][:shared], info["output_name"][:shared]] == [kinds[:shared], names[:shared]], name


def test_the_stand_in_says_what_comfyui_says(pack):
    io, ui = pack("nodes.host.headless.io"), pack("nodes.host.headless.ui")
    script = SCHEMAS + REAL.format(comfyui=str(Path(os.environ["COMFYUI_DIR"]).resolve()))
    printed = printed_by_comfyui(script)
    ours: dict = {}
    exec(SCHEMAS, ours)  # noqa: S102 - the same text as in the child
    saved = ui.SavedResult("a.mp4", "s", io.FolderType.output)
    shown = [ui.PreviewVideo([saved]).as_dict(), ui.PreviewText("t").as_dict()]
    expected_infos, expected_ui = json.loads(printed)
    for made, expected in zip(json.loads(json.dumps(list(ours["infos"](io)))), expected_infos, strict=True):
        assert set(made) - set(expected) <= (LATER if version() < FOLLOWED else set())
        assert {key: made[key] for key in expected if key in made or version() <= FOLLOWED} == {
            key: value for key, value in expected.items() if key in made
        }
        assert list(made["input"].get("required", ())) == list(expected["input"].get("required", ()))
    assert json.loads(json.dumps(shown)) == expected_ui
