"""Every shipped workflow opens in the released frontend: nothing missing, nothing complained of, and the same graph."""

from __future__ import annotations

import base64
import json
from itertools import combinations
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
SCREENSHOTS = ROOT / "output" / "screenshots"  # not under version control


def plain(prompt):
    """An API graph without what versions of the frontend add to `_meta`."""
    return {
        id: {"class_type": node["class_type"], "inputs": node["inputs"], "title": node["_meta"]["title"]}
        for id, node in prompt.items()
    }


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_it_opens_without_complaint_as_the_graph_of_its_twin(canvas, file, request):
    workflow = json.loads(file.read_text())
    canvas.open(workflow)
    renderer = request.node.callspec.params["canvas"]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    canvas.page.screenshot(path=SCREENSHOTS / f"{file.stem}, {renderer}.png")

    assert canvas.errors == []
    assert canvas.shown_problems() == []
    unknown = "() => app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)"
    assert canvas.page.evaluate(unknown) == []
    assert canvas.page.evaluate("() => app.graph.nodes.filter(n => n.has_errors).map(n => n.title)") == []
    assert canvas.page.evaluate("() => app.graph.nodes.length") == len(workflow["nodes"])
    twin = json.loads((file.parent / "api" / file.name).read_text())
    assert plain(canvas.prompt()) == plain(twin)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_nodes_are_as_large_as_the_frontend_draws_them_and_stay_apart(canvas, file):
    canvas.open(json.loads(file.read_text()))
    if canvas.page.evaluate("() => LiteGraph.vueNodesMode"):
        boxes = canvas.page.evaluate(
            "() => [...document.querySelectorAll('[data-node-id]')].map(e => e.getBoundingClientRect())"
            ".map(r => [r.left, r.top, r.right, r.bottom])"
        )
    else:
        boxes = canvas.page.evaluate(
            "() => app.graph.nodes.map(n => { const [w, h] = n.computeSize(); const [x, y] = n.pos;"
            " return [x, y - 30, x + Math.max(w, n.size[0]), y + Math.max(h, n.size[1])] })"
        )
    assert len(boxes) == len(json.loads(file.read_text())["nodes"])
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], f"{a} and {b} overlap"


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
    drop = """async ([name, base64]) => {
        const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
        await app.handleFile(new File([bytes], name, { type: 'video/mp4' }));
    }"""
    canvas.page.evaluate("() => app.graph.clear()")
    canvas.page.evaluate(drop, [file.name, base64.b64encode(file.read_bytes()).decode()])
    canvas.page.wait_for_function("() => app.graph.nodes.length > 0")
    assert plain(canvas.prompt()) == plain(graph.prompt)
