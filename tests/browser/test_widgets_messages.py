"""Messages for errors, settings and their texts in every language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

LOCALES = Path(__file__).resolve().parents[2] / "locales"
SETTING = "LTX2.Messages.Errors"
RULE = "frames must be 8n + 1; got 100 (nearest: 97, 105)"
CURE = "a reference sound must be encoded; got no audio_vae: connect it to LTX-2 Apply Guides"
#: Texts on the page that are no node's.
MESSAGES = "[data-testid=toast-viewport], .p-toast"
ADD = """([type, title]) => {
    const node = LiteGraph.createNode(type)
    app.graph.add(node)
    node.title = title
    return String(node.id)
}"""


@pytest.fixture
def node(canvas):
    """The id of a Canvas called "The size"."""
    canvas.page.evaluate("() => app.graph.clear()")
    canvas.errors.clear()
    yield canvas.page.evaluate(ADD, ["LTX2_Canvas", "The size"])
    canvas.start()


def fail(canvas, id, message, exception="ltx2.LTX2Error", type_="LTX2_Canvas"):
    """As the server tells of a failed node."""
    detail = {
        **{"prompt_id": "1", "node_id": id, "node_type": type_, "executed": [], "traceback": []},
        **{"exception_message": message, "exception_type": exception, "current_inputs": {}, "current_outputs": []},
    }
    canvas.page.evaluate("detail => app.api.dispatchCustomEvent('execution_error', detail)", detail)
    canvas.page.wait_for_timeout(800)


def refuse(canvas, id, words, type_="LTX2_Canvas"):
    """Queue a prompt that the server refuses: as ComfyUI answers."""
    error = {"type": "custom_validation_failed", "message": "Custom validation failed for node"}
    error |= {"details": f"frames - {words}", "extra_info": {"input_name": "frames"}}
    body = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"},
        "node_errors": {id: {"errors": [error, error], "dependent_outputs": [], "class_type": type_}},
    }
    answer = json.dumps(body | {"error": body["error"] | {"details": "", "extra_info": {}}})
    canvas.page.route("**/api/prompt", lambda route: route.fulfill(status=400, body=answer))
    canvas.page.evaluate("() => app.queuePrompt(0, 1)")
    canvas.page.wait_for_timeout(1200)
    canvas.page.unroute("**/api/prompt")


def messages(canvas):
    """What the page's messages say, each part once, white space aside."""
    texts = canvas.page.locator(MESSAGES).all_inner_texts()
    return re.sub(r"\s+", " ", " ".join(texts))


def said(canvas, *parts):
    """Wait until the messages say all of it: a busy machine takes its time; what they say."""
    for _ in range(60):
        if all(part in (text := messages(canvas)) for part in parts):
            return text
        canvas.page.wait_for_timeout(250)
    raise AssertionError(f"{parts} not in {text!r}")


def test_a_failed_node_is_explained(canvas, node):
    fail(canvas, node, CURE)
    reason = "a reference sound must be encoded"
    said(canvas, "The size failed", reason, "got no audio_vae: connect it to LTX-2 Apply Guides")


def test_a_message_leads_to_its_node(canvas, node):
    fail(canvas, node, CURE)
    said(canvas, "The size failed")
    button = canvas.page.get_by_role("button", name="Show node")
    if canvas.look.frontend == "1.35.9":
        assert button.count() == 0, "its messages have no buttons"
        return
    button.click()
    assert canvas.page.evaluate("() => Object.keys(app.canvas.selected_nodes)") == [node]


def test_a_refused_prompt_is_explained_once(canvas, node):
    refuse(canvas, node, RULE)
    text = said(canvas, "The size was refused", "frames must be 8n + 1", "got 100 (nearest: 97, 105)")
    assert text.count("The size was refused") == 1
    assert text.count("frames must be 8n + 1") == 1


def test_other_nodes_and_other_errors_are_left_to_the_frontend(canvas, node):
    fail(canvas, node, "an index is out of range", exception="IndexError")
    fail(canvas, node, CURE, type_="KSampler")
    refuse(canvas, node, RULE, type_="KSampler")
    text = messages(canvas)
    assert "failed The size" not in text
    assert "The size failed" not in text
    assert "The size was refused" not in text


def test_messages_can_be_turned_off(canvas, node):
    switch = "([name, on]) => app.extensionManager.setting.set(name, on)"
    canvas.page.evaluate(switch, [SETTING, False])
    fail(canvas, node, CURE)
    refuse(canvas, node, RULE)
    canvas.page.evaluate(switch, [SETTING, True])
    assert "The size" not in messages(canvas)


@pytest.fixture(scope="module")
def modules(chromium, server):
    """The settings and the texts, as the modules have them."""
    page = chromium.new_page()
    page.goto(f"{server.url}extensions/comfyui-ltx2/estimates.json")
    script = """async () => {
        const folder = '/extensions/comfyui-ltx2/js'
        const [{ SETTINGS }, { TEXTS }] = [await import(`${folder}/settings.mjs`), await import(`${folder}/texts.mjs`)]
        return { settings: SETTINGS, texts: TEXTS }
    }"""
    yield page.evaluate(script)
    page.close()


def locale(language, name):
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


def test_settings_stand_under_one_heading(modules):
    assert {setting["category"][0] for setting in modules["settings"]} == {"LTX-2"}
    assert all(setting["id"].startswith("LTX2.") for setting in modules["settings"])


def test_english_texts_of_settings_are_theirs(modules):
    own = {
        setting["id"].replace(".", "_"): {"name": setting["name"], "tooltip": setting["tooltip"]}
        for setting in modules["settings"]
    }
    assert locale("en", "settings") == own


@pytest.mark.parametrize("language", ["en", "zh"])
def test_settings_have_texts_in_every_language(language, modules):
    english, texts = locale("en", "settings"), locale(language, "settings")
    assert {key: set(value) for key, value in texts.items()} == {key: set(value) for key, value in english.items()}
    assert all(text.strip() for entry in texts.values() for text in entry.values())
    groups = {part for setting in modules["settings"] for part in setting["category"]}
    assert set(locale(language, "main")["settingsCategories"]) == groups


def test_panels_speak_every_language_of_the_locales(modules):
    texts = modules["texts"]
    assert set(texts) == {folder.name for folder in LOCALES.iterdir() if folder.is_dir()}
    names = {
        language: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in own.items()}
        for language, own in texts.items()
    }
    assert names["zh"] == names["en"]


def test_a_panel_speaks_the_language_of_the_user(canvas):
    locale = "language => app.extensionManager.setting.set('Comfy.Locale', language)"
    canvas.page.evaluate(locale, "zh")
    canvas.page.evaluate("() => app.graph.clear()")
    canvas.page.evaluate(ADD, ["LTX2_Canvas", "x"])
    panel = canvas.page.locator(".ltx2-canvas", has_text="121 \u5e27")
    panel.last.wait_for()
    text = panel.last.inner_text()
    canvas.page.evaluate(locale, "en")
    assert "121 \u5e27" in text
