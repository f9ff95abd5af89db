"""Every shipped workflow opens in the released frontend: nothing missing, nothing complained of, and the same graph."""

from __future__ import annotations

import importlib.metadata
import json
from itertools import combinations
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))

SHOWN_ONLY = {"video-preview", "audioUI"}  # widgets that the frontend adds to show a file; servers pass over them


def plain(prompt):
    """An API graph without what versions of the frontend add to it."""
    return {
        id: {
            "class_type": node["class_type"],
            "inputs": {name: value for name, value in node["inputs"].items() if name not in SHOWN_ONLY},
            "title": node["_meta"]["title"],
        }
        for id, node in prompt.items()
    }


@pytest.fixture(scope="module", params=FILES, ids=[file.stem for file in FILES])
def file(request, canvas):
    """A workflow's file, open in the browser."""
    canvas.open(json.loads(request.param.read_text()))
    canvas.screenshot(request.param.stem)
    return request.param


def test_the_frontend_is_the_one_that_was_asked_for(canvas):
    newest = importlib.metadata.version("comfyui-frontend-package")
    asked = newest if canvas.look.frontend == "newest" else canvas.look.frontend
    assert canvas.page.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__") == asked
    assert newest != "1.35.9"


def test_it_opens_without_complaint_as_the_graph_of_its_twin(canvas, file):
    workflow = json.loads(file.read_text())
    assert canvas.errors == []
    assert canvas.shown_problems() == []
    unknown = "() => app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)"
    assert canvas.page.evaluate(unknown) == []
    assert canvas.page.evaluate("() => app.graph.nodes.filter(n => n.has_errors).map(n => n.title)") == []
    assert canvas.page.evaluate("() => app.graph.nodes.length") == len(workflow["nodes"])
    twin = json.loads((file.parent / "api" / file.name).read_text())
    assert plain(canvas.prompt()) == plain(twin)


def test_nodes_stay_apart_and_in_their_groups_as_they_are_drawn(canvas, file):
    boxes, groups = canvas.drawn(), canvas.boxes_of_groups()
    assert len(boxes) == len(json.loads(file.read_text())["nodes"])
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], f"{a} and {b} overlap"
    for box in boxes:
        assert sum(g[0] < box[0] and g[1] < box[1] and box[2] < g[2] and box[3] < g[3] for g in groups) == 1, box


def test_names_of_files_are_not_cut(canvas, file):
    texts = "[...document.querySelectorAll('[data-node-id] *')].filter(e => e.children.length === 0)"
    names = f"({texts}).filter(e => /\\.(safetensors|mp4|wav|png)$/.test(e.textContent.trim()))"
    in_page = canvas.page.evaluate(f"{names}.length") > 0
    assert in_page == (canvas.renderer != "classic"), "the classic renderer paints its texts"
    assert canvas.page.evaluate(f"{names}.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)") == []


def test_a_workflow_with_a_missing_node_is_complained_of(canvas):
    """The tests above can fail."""
    workflow = json.loads(FILES[0].read_text())
    workflow["nodes"][0]["type"] = "LTX2_NoSuchNode"
    canvas.open(workflow)
    problems = " ".join(canvas.shown_problems())
    canvas.start()
    assert "LTX2_NoSuchNode" in problems


def test_dropping_a_saved_video_brings_its_graph_back(canvas, saved_video):
    file, graph = saved_video
    canvas.page.evaluate("() => app.graph.clear()")
    canvas.drop(file)
    canvas.page.wait_for_function("() => app.graph.nodes.length > 0")
    assert plain(canvas.prompt()) == plain(graph.prompt)
