"""The pack in a real ComfyUI, seen in Chromium with the frontend that it brings: a template opens, runs and shows."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

import pytest
from small_graphs import SMALL

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "output" / "screenshots"  # not under version control
NAME, BLUEPRINT = "LTX-2 Text to Video Distilled", "LTX-2 Two-Stage Text to Video"
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,  # the tiny set has the files that a run needs, not all
}
SEARCH = 1200, 1000  # a place on an empty canvas
# ComfyUI tells of one step in a tenth of a second: sampling must take longer than that.
LONGER = {"Canvas.height": 512, "Canvas.frames": 121}
ADD_SAVE = """prefix => {
    const save = LiteGraph.createNode("LTX2_SaveVideo");
    app.graph.add(save);
    save.title = "Save Video";
    save.pos = [1400, 400];
    save.widgets.find(each => each.name === "filename_prefix").value = prefix;
    app.graph.nodes.find(node => node.isSubgraphNode?.()).connect(0, save, 0);
}"""
ID = "title => app.graph.nodes.find(node => node.title === title).id"
SET = """([title, name, value]) => {
    app.graph.nodes.find(node => node.title === title).widgets.find(each => each.name === name).value = value;
}"""
FIT = "() => { app.canvas.deselectAll(); app.extensionManager.command.execute('Comfy.Canvas.FitView') }"
# Progress is noted as it is told, as a tiny run is over in a moment.
WATCH = """id => {
    window.seen = [];
    const look = () => window.seen.push(app.graph.getNodeById(id).progress);
    for (const kind of ["progress_state", "progress"]) app.api.addEventListener(kind, look);
}"""
PREVIEW = """id => (document.querySelector(`[data-node-id='${id}'] img[src^='blob:']`)
    ?? app.graph.getNodeById(id).imgs?.[0])?.naturalWidth"""
VIDEO = """id => (document.querySelector(`[data-node-id='${id}'] video`)
    ?? app.graph.getNodeById(id).videoContainer?.querySelector('video'))?.videoWidth"""
GRAPH = "async () => (await app.graphToPrompt()).output"
DROP = """async ([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
    await app.handleFile(new File([bytes], name, { type: 'video/mp4' }));
}"""


@pytest.fixture(scope="module")
def frontend():
    """The release of the frontend that this ComfyUI asks for."""
    wanted = (Path(os.environ["COMFYUI_DIR"]) / "requirements.txt").read_text().splitlines()
    (version,) = (line.partition("==")[2] for line in wanted if line.startswith("comfyui-frontend-package=="))
    return version


@pytest.fixture(scope="module")
def previewing(start_server, frontend):
    """A server that is told to show previews, and gives the browser the pack's files."""
    static = Path(sys.prefix) / "frontends" / frontend / "comfyui_frontend_package" / "static"
    own = ["--front-end-root", str(static)] if static.is_dir() else []  # its environment may have another's
    return start_server("--preview-method", "latent2rgb", *own, called="comfyui-ltx2")


@pytest.fixture(params=["classic", "nodes 2.0"])
def page(request, previewing, chromium, frontend):
    """Its page in each renderer; `page.problems` are the console's errors."""
    if request.param == "nodes 2.0" and frontend == "1.35.9":
        pytest.skip("the renderer was in its trial in frontend 1.35.9, and draws no widget that comes later")
    page = chromium.new_page(viewport={"width": 2560, "height": 1400})
    page.problems, page.look = [], request.param
    page.on("console", lambda m: page.problems.append(f"{m.text} {m.location}") if m.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(f"{error} {error.stack}"))
    url = f"http://127.0.0.1:{previewing.port}/"
    page.route(lambda each: not each.startswith((url, "blob:", "data:")), lambda route: route.abort())
    previewing.post("/settings", {**SETTINGS, "Comfy.VueNodes.Enabled": request.param == "nodes 2.0"})
    page.goto(url)
    page.wait_for_function("() => window.app?.extensionManager && app.graph && app.canvas", timeout=120_000)
    page.wait_for_function("() => 'LTX2_Sample' in LiteGraph.registered_node_types", timeout=120_000)
    page.wait_for_timeout(2000)
    yield page
    page.close()


def ours(problems):
    return [each for each in problems if "ltx2" in each.lower()]


def open_template(page, name):
    """Open a workflow as people do, in the template browser."""
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("comfyui-ltx2", exact=True).first.click()
    title = dialog.get_by_text(name, exact=True).first
    title.scroll_into_view_if_needed()
    page.wait_for_function(
        "name => [...document.images].some(each => each.alt === name && each.naturalWidth)", arg=name
    )
    page.screenshot(path=SCREENSHOTS / f"Real ComfyUI, templates, {page.look}.png")
    title.click()
    page.wait_for_function("() => !document.querySelector('[role=dialog]')")
    page.wait_for_function("() => app.graph.nodes.some(node => node.type === 'LTX2_Sample')", timeout=60_000)


def run(page, saver):
    """Click Run, and wait until the node shows the video."""
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.wait_for_function(f"id => ({VIDEO})(id) === 128", arg=saver, timeout=180_000)
    page.wait_for_timeout(1000)


def restore(page, file):
    """Drop a video onto an empty canvas."""
    page.evaluate("() => app.graph.clear()")
    page.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])
    page.wait_for_function("() => app.graph.nodes.length > 0")


def test_a_template_opens_runs_and_shows_all_there_is_to_see(page, previewing):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    open_template(page, NAME)
    prefix = f"browser/{page.look}"
    for setting, value in {**SMALL["clip"], **LONGER}.items():
        page.evaluate(SET, [*setting.split("."), value])
    page.evaluate(SET, ["Save Video", "filename_prefix", prefix])
    page.evaluate(SET, ["Stage 1 Sample", "seed", len(prefix)])  # differs with the renderer: nothing is kept
    page.evaluate(FIT)
    sent = page.evaluate(GRAPH)
    sampler, saver = (page.evaluate(ID, title) for title in ("Stage 1 Sample", "Save Video"))
    page.evaluate(WATCH, sampler)
    run(page, saver)
    page.screenshot(path=SCREENSHOTS / f"Real ComfyUI, {page.look}.png")
    assert any(0 < (each or 0) < 1 for each in page.evaluate("() => window.seen"))
    assert page.evaluate(PREVIEW, sampler) > 0
    report = page.get_by_role("group", name="Report of the last run").first
    assert report.is_visible()
    assert "8 steps" in report.inner_text()
    (file,) = previewing.output.glob(f"{prefix}*.mp4")
    restore(page, file)
    assert page.evaluate(GRAPH) == sent
    assert ours(page.problems) == []
    assert "Traceback" not in previewing.log()


def test_the_blueprint_is_found_runs_and_comes_back(page, previewing, open_search):
    prefix = f"blueprint/{page.look}"
    page.evaluate("() => app.graph.clear()")
    open_search(page, SEARCH)
    page.keyboard.type(BLUEPRINT)
    page.wait_for_function("name => document.body.innerText.includes(name)", arg=BLUEPRINT)
    page.wait_for_timeout(1000)
    page.keyboard.press("Enter")
    page.wait_for_function("() => app.graph.nodes.length === 1")
    page.mouse.click(*SEARCH)
    page.evaluate(ADD_SAVE, prefix)
    title = page.evaluate("() => app.graph.nodes[0].title")
    for name, value in {**SMALL["clip"], "Canvas.seed": len(prefix)}.items():
        page.evaluate(SET, [title, name.partition(".")[2], value])
    page.evaluate(FIT)
    sent = page.evaluate(GRAPH)
    assert sum(":" in id for id in sent) > 10
    run(page, page.evaluate(ID, "Save Video"))
    page.screenshot(path=SCREENSHOTS / f"Real ComfyUI, blueprint, {page.look}.png")
    (file,) = previewing.output.glob(f"{prefix}*.mp4")
    restore(page, file)
    assert {id: node["inputs"] for id, node in page.evaluate(GRAPH).items()} == {
        id: node["inputs"] for id, node in sent.items()
    }
    assert ours(page.problems) == []
    assert "Traceback" not in previewing.log()
