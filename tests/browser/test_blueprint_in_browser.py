"""The blueprint of the two-stage pipeline in the released frontends: found, inserted, changed, run, and restored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

FILE = Path(__file__).resolve().parents[2] / "subgraphs" / "LTX-2 Two-Stage Text to Video.json"
SMALL = {"text": "a red boat", "width": 64, "height": 64, "frames": 9}
FREE = 1200, 1000  # a place on the canvas where nothing is
ADD_SAVE = """prefix => {
    const save = LiteGraph.createNode("LTX2_SaveVideo");
    app.graph.add(save);
    save.pos = [1400, 400];
    save.widgets.find(each => each.name === "filename_prefix").value = prefix;
    app.graph.nodes.find(node => node.isSubgraphNode?.()).connect(0, save, 0);
}"""
SET = """values => {
    const node = app.graph.nodes.find(node => node.isSubgraphNode?.());
    for (const [name, value] of Object.entries(values)) node.widgets.find(each => each.name === name).value = value;
}"""
WIDGETS = "() => Object.fromEntries(app.graph.nodes[0].widgets.map(widget => [widget.name, widget.value]))"
FIT = "() => { app.canvas.deselectAll(); app.extensionManager.command.execute('Comfy.Canvas.FitView') }"
VIDEOS = "() => app.graph.nodes.at(-1).videoContainer || document.querySelector('[data-node-id] video')"


@pytest.fixture
def canvas(run_canvas, open_search):
    """An empty canvas with the blueprint's node, found by search and placed by a click."""
    page = run_canvas.page
    page.evaluate("() => app.graph.clear()")
    run_canvas.errors.clear()
    open_search(page, FREE)
    page.keyboard.type(FILE.stem)
    page.wait_for_function("name => document.body.innerText.includes(name)", arg=FILE.stem)
    run_canvas.screenshot("Blueprint, search")
    page.keyboard.press("Enter")
    page.wait_for_function("() => app.graph.nodes.length === 1")
    page.mouse.click(*FREE)
    yield run_canvas
    page.evaluate("() => app.graph.clear()")


@pytest.fixture
def converted(runner, tmp_path):
    """What the headless host makes of the graph on the canvas."""
    from comfyui_ltx2.nodes.host.graph.document import read_graph

    def convert(canvas):
        file = tmp_path / "graph.json"
        file.write_text(json.dumps(canvas.page.evaluate("() => app.graph.serialize()")))
        return read_graph(file, runner.executor.infos()).prompt

    return convert


def plain(prompt):
    return {id: (node["class_type"], node["inputs"], node["_meta"]["title"]) for id, node in prompt.items()}


def test_it_is_inserted_whole(canvas):
    definition = json.loads(FILE.read_text())["definitions"]["subgraphs"][0]
    unknown = "() => app.graph.nodes[0].subgraph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types))"
    assert canvas.page.evaluate("() => app.graph.nodes[0].subgraph.nodes.length") == len(definition["nodes"])
    assert canvas.page.evaluate(f"({unknown})().length") == 0
    held = canvas.page.evaluate(WIDGETS)
    assert list(held) == [each["name"] for each in definition["inputs"]]
    assert held["text"].startswith("Early morning")
    assert (held["width"], held["height"], held["frames"], held["frame_rate"]) == (1280, 704, 121, 24)
    assert held["checkpoint"] == "ltx-2.3-22b-distilled-1.1.safetensors"
    canvas.page.evaluate(FIT)
    canvas.page.wait_for_timeout(1000)
    canvas.screenshot("Blueprint")
    assert canvas.errors == []
    assert canvas.shown_problems() == []


def test_what_is_set_on_its_node_reaches_the_nodes_inside(canvas, converted):
    canvas.page.evaluate(ADD_SAVE, "clip")
    assert plain(canvas.prompt()) == plain(converted(canvas))
    canvas.page.evaluate(SET, SMALL)
    prompt = canvas.prompt()
    assert plain(prompt) == plain(converted(canvas))
    inner = {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}
    assert inner["Prompt"]["text"] == "a red boat"
    assert {**inner["Canvas"], "text": "a red boat"} == {**SMALL, "frame_rate": 24}


def test_it_runs_and_its_video_brings_it_back(canvas, runner):
    canvas.page.evaluate(ADD_SAVE, "blueprint/clip")
    canvas.page.evaluate(SET, {**SMALL, "seed": 100 + len(runner.ran)})
    before = canvas.prompt()
    canvas.page.evaluate(FIT)
    canvas.page.get_by_role("button", name="Run", exact=True).first.click()
    canvas.page.wait_for_function(VIDEOS, timeout=90_000)
    canvas.screenshot("Blueprint, run")
    assert runner.errors == []
    assert canvas.errors == []
    file = max((runner.host.folders.output / "blueprint").glob("*.mp4"), key=lambda each: each.name)
    canvas.page.evaluate("() => app.graph.clear()")
    canvas.drop(file)
    canvas.page.wait_for_function("() => app.graph.nodes.length === 2")
    assert plain(canvas.prompt()) == plain(before)
