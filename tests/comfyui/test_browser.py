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
ID = "title => app.graph.nodes.find(node => node.title === title).id"
SET = """([title, name, value]) => {
    app.graph.nodes.find(node => node.title === title).widgets.find(each => each.name === name).value = value;
}"""
FIT = "() => app.extensionManager.command.execute('Comfy.Canvas.FitView')"
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
DROP = """async ([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
    await app.handleFile(new File([bytes], name, { type: 'video/mp4' }));
}"""


def own_frontend() -> list[str]:
    """Flags that give a ComfyUI the frontend it asks for, where its environment may have another's."""
    wanted = (Path(os.environ["COMFYUI_DIR"]) / "requirements.txt").read_text().splitlines()
    (version,) = (line.partition("==")[2] for line in wanted if line.startswith("comfyui-frontend-package=="))
    static = Path(sys.prefix) / "frontends" / version / "comfyui_frontend_package" / "static"
    return ["--front-end-root", str(static)] if static.is_dir() else []


@pytest.fixture(scope="module")
def previewing(start_server):
    """A server that is told to show previews, and gives the browser the pack's files."""
    return start_server("--preview-method", "latent2rgb", *own_frontend(), called="comfyui-ltx2")


@pytest.fixture(params=["classic", "nodes 2.0"])
def page(request, previewing, chromium):
    """Its page in each renderer; `page.problems` are the console's errors."""
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
    dialog.get_by_role("textbox").first.fill(name)
    title = dialog.get_by_text(name, exact=True).first
    title.scroll_into_view_if_needed()
    page.wait_for_function(
        "name => [...document.images].some(each => each.alt === name && each.naturalWidth)", arg=name
    )
    page.screenshot(path=SCREENSHOTS / f"Real ComfyUI, templates, {page.look}.png")
    title.click()
    page.wait_for_function("() => !document.querySelector('[role=dialog]')")
    page.wait_for_function("() => app.graph.nodes.some(node => node.type === 'LTX2_Sample')", timeout=60_000)


def test_a_template_opens_runs_and_shows_all_there_is_to_see(page, previewing):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    open_template(page, NAME)
    prefix = f"browser/{page.look}"
    for setting, value in SMALL["clip"].items():
        page.evaluate(SET, [*setting.split("."), value])
    page.evaluate(SET, ["Save Video", "filename_prefix", prefix])
    page.evaluate(SET, ["Stage 1 Sample", "seed", len(prefix)])  # differs with the renderer: nothing is kept
    page.evaluate(FIT)
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")
    sampler, saver = (page.evaluate(ID, title) for title in ("Stage 1 Sample", "Save Video"))
    page.evaluate(WATCH, sampler)
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.wait_for_function(f"id => ({VIDEO})(id) === 128", arg=saver, timeout=180_000)
    page.wait_for_timeout(1000)
    page.screenshot(path=SCREENSHOTS / f"Real ComfyUI, {page.look}.png")
    assert any(0 < (each or 0) < 1 for each in page.evaluate("() => window.seen"))
    assert page.evaluate(PREVIEW, sampler) > 0
    report = page.get_by_role("group", name="Report of the last run").first
    assert report.is_visible()
    assert "8 steps" in report.inner_text()
    (file,) = previewing.output.glob(f"{prefix}*.mp4")
    page.evaluate("() => app.graph.clear()")
    page.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])
    page.wait_for_function("() => app.graph.nodes.length > 0")
    assert page.evaluate("async () => (await app.graphToPrompt()).output") == sent
    assert ours(page.problems) == []
    assert "Traceback" not in previewing.log()
