"""The template browser lists every shipped workflow, and what a workflow lacks is offered for download."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))
RELEASED = json.loads((ROOT / "tests" / "workflows" / "released_files.json").read_text())
WITH_MANY_FILES = ["LTX-2 Text to Video", "LTX-2 Control Video", "LTX-2 LoRA Stack", "LTX-2 Dub"]
SHOWN = "name => [...document.images].some(each => each.alt === name && each.naturalWidth)"
FOLLOWED = """() => {
    window.followed = [];
    HTMLAnchorElement.prototype.click = function () { window.followed.push(this.href) };
}"""


def test_every_workflow_is_listed_with_title_and_thumbnail_and_opens(canvas):
    page = canvas.page
    canvas.start()  # messages of what was opened before would stay
    canvas.errors.clear()
    before = canvas.shown_problems()  # of ComfyUI's default workflow
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    dialog = page.get_by_role("dialog")
    for name in NAMES:
        title = dialog.get_by_text(name, exact=True).first
        title.scroll_into_view_if_needed()
        page.wait_for_function(SHOWN, arg=name)
    canvas.screenshot("Templates")
    assert canvas.errors == []
    title.click()
    page.wait_for_function("() => !document.querySelector('[role=dialog]')")
    workflow = json.loads((ROOT / "workflows" / f"{NAMES[-1]}.json").read_text())
    page.wait_for_function("number => app.graph.nodes.length === number", arg=len(workflow["nodes"]))
    assert canvas.errors == []
    assert not set(canvas.shown_problems()) - set(before)


@pytest.fixture
def without_models(canvas, start_server, open_canvas):
    """A canvas on a server that has no model."""
    server = start_server(canvas.look.frontend)
    infos = copy.deepcopy(server.answers["/object_info"])
    for info in infos.values():
        for side in info["input"].values():
            for _, options in (each for each in side.values() if isinstance(each, list) and len(each) > 1):
                if any(str(option).endswith(".safetensors") for option in options.get("options", [])):
                    options["options"] = []
    server.answers["/object_info"] = infos
    server.settings["Comfy.Workflow.ShowMissingModelsWarning"] = True
    canvas = open_canvas(server, canvas.look)
    yield canvas
    canvas.page.close()


def test_missing_models_are_offered_with_their_official_links(without_models):
    canvas, page = without_models, without_models.page
    page.evaluate(FOLLOWED)
    for name in WITH_MANY_FILES:
        workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
        models = [model["name"] for node in workflow["nodes"] for model in node["properties"].get("models", [])]
        wanted = {f"https://huggingface.co/{RELEASED[model][1]}/resolve/main/{model}" for model in models}
        assert len(wanted) >= 2
        canvas.open(workflow)
        if canvas.look.frontend == "newest":
            page.get_by_text("View details").click()
        page.get_by_role("button", name="Download").first.wait_for()
        for button in page.get_by_role("button", name="Download").all():
            if "all" not in button.inner_text():
                button.click()
        canvas.screenshot(f"Missing models, {name}")
        assert set(page.evaluate("() => window.followed.splice(0)")) == wanted
        page.keyboard.press("Escape")
    assert canvas.errors == []
