"""A click on Run in the released frontends: progress, a preview and the video appear, and the video holds the graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "LTX-2 Text to Video Distilled.json"
SMALL = {"width": 64, "height": 64, "frames": 9}
SET = """([title, values]) => {
    const node = app.graph.nodes.find(node => node.title === title);
    for (const [name, value] of Object.entries(values)) node.widgets.find(each => each.name === name).value = value;
    node.setDirtyCanvas(true, true);
}"""
ID = "title => app.graph.nodes.find(node => node.title === title).id"
PREVIEW = {
    "classic": "id => app.graph.getNodeById(id).imgs?.[0]?.naturalWidth",
    "nodes 2.0": "id => document.querySelector(`[data-node-id='${id}'] img[src^='blob:']`)?.naturalWidth",
}
VIDEO = {
    "classic": "id => app.graph.getNodeById(id).videoContainer?.querySelector('video')?.videoWidth",
    "nodes 2.0": "id => document.querySelector(`[data-node-id='${id}'] video`)?.videoWidth",
}


@pytest.fixture
def canvas(run_canvas, runner):
    """The distilled workflow made small, with a seed that no run before had."""
    run_canvas.open(json.loads(WORKFLOW.read_text()))
    run_canvas.page.evaluate(SET, ["Canvas", SMALL])
    run_canvas.page.evaluate(SET, ["Stage 1 Sample", {"seed": 100 + len(runner.ran)}])
    yield run_canvas
    runner.go_on()


def click_run(canvas):
    canvas.page.get_by_role("button", name="Run", exact=True).first.click()


def loose(canvas):
    """Boxes of nodes that lie in no group, or over another node."""
    boxes, groups = canvas.drawn(), canvas.boxes_of_groups()

    def inside(a, b):
        return b[0] < a[0] and b[1] < a[1] and a[2] < b[2] and a[3] < b[3]

    def meet(a, b):
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    return [
        a
        for a in boxes
        if not any(inside(a, group) for group in groups) or any(meet(a, b) for b in boxes if b is not a)
    ]


def test_it_shows_progress_then_a_preview_then_the_video_which_holds_the_graph(canvas, runner):
    page, sampler, saver = canvas.page, *(canvas.page.evaluate(ID, title) for title in ("Stage 1 Sample", "Save Video"))
    before = canvas.prompt()
    runner.hold("sample", 3)
    click_run(canvas)
    assert runner.held.wait(60)
    page.wait_for_function("id => app.graph.getNodeById(id).progress === 3 / 8", arg=sampler)
    if canvas.renderer == "nodes 2.0":
        page.wait_for_selector(f"[data-node-id='{sampler}'] [style*='width: 37.5%']")
    runner.hold("sample", 4)  # the classic renderer draws when something changes
    assert runner.held.wait(60)
    page.wait_for_function(f"id => ({PREVIEW[canvas.renderer]})(id) > 0", arg=sampler)
    canvas.screenshot("Run, stage 1")
    runner.go_on()
    page.wait_for_function(f"id => ({VIDEO[canvas.renderer]})(id) === 64", arg=saver)
    canvas.screenshot("Run, done")
    assert loose(canvas) == []
    assert page.evaluate("() => app.graph.nodes.filter(node => node.progress > 0).length") == 0
    assert canvas.errors == []
    assert not set(canvas.shown_problems()) - {"Job queued"}

    assert runner.errors == []
    file = max((runner.host.folders.output / "video").glob("*.mp4"), key=lambda each: each.name)
    page.evaluate("() => app.graph.clear()")
    canvas.drop(file)
    page.wait_for_function("() => app.graph.nodes.length > 0")
    assert canvas.prompt() == before
