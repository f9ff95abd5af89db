"""The released frontend shows the pack's nodes in the language of its user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

LOCALES = Path(__file__).resolve().parents[2] / "locales"

SHOWN = """() => {
    const node = LiteGraph.createNode("LTX2_ImageGuide")
    app.graph.add(node)
    return {
        title: node.title,
        inputs: Object.fromEntries(node.inputs.map(input => [input.name, input.label ?? input.localized_name])),
        outputs: node.outputs.map(output => output.label ?? output.localized_name),
        widgets: Object.fromEntries(node.widgets.map(widget => [widget.name, widget.label])),
        category: node.constructor.category,
    }
}"""


def texts(language):
    folder = LOCALES / language
    own = json.loads((folder / "main.json").read_text(encoding="utf-8"))
    return {**own, "nodeDefs": json.loads((folder / "nodeDefs.json").read_text(encoding="utf-8"))}


@pytest.fixture
def shown(chromium, server):
    """`shown("zh")` is what a node shows in that language."""
    before = server.answers["/i18n"]
    server.answers["/i18n"] = {language: texts(language) for language in ("en", "zh")}
    pages = []

    def show(language):
        server.settings["Comfy.Locale"] = language
        page = chromium.new_page()
        pages.append(page)
        page.route(lambda url: not url.startswith((server.url, "blob:", "data:")), lambda route: route.abort())
        page.goto(server.url)
        page.wait_for_function("() => window.app?.extensionManager && app.graph && app.canvas", timeout=90_000)
        page.wait_for_function("() => 'LTX2_Sample' in LiteGraph.registered_node_types", timeout=90_000)
        return page.evaluate(SHOWN)

    yield show
    for page in pages:
        page.close()
    server.answers["/i18n"] = before
    del server.settings["Comfy.Locale"]


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_node_is_shown_in_the_language_of_the_user(shown, language):
    own = texts(language)
    entry = own["nodeDefs"]["LTX2_ImageGuide"]
    node = shown(language)
    assert node["title"] == entry["display_name"]
    for name, label in {**node["inputs"], **node["widgets"]}.items():
        assert label == entry["inputs"][name]["name"], name
    assert node["outputs"] == [output["name"] for output in entry["outputs"].values()]
