"""The texts of the frontend's languages: those of every node and of no other, in English as the schemas have them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCALES = ROOT / "locales"
LANGUAGES = ["en", "zh"]
CHINESE = "[\u4e00-\u9fff]"
NUMBER = r"\d+(?:\.\d+)?"
# What the frontend's message compiler reads as something else than text.
COMPILED = set("{}@|")
# Categories that ComfyUI's own nodes have too, and its frontend translates.
OF_COMFYUI = {"conditioning", "loaders", "sampling"}


@pytest.fixture(scope="module")
def tool(tool_module):
    """The module of the tool that makes the English texts."""
    return tool_module("locales/texts.py")


def texts_of(language, name="nodeDefs"):
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


def test_english_texts_are_those_of_the_schemas(infos, tool):
    assert texts_of("en") == {name: tool.node_texts(info) for name, info in infos.items()}, (
        "run `python -m tools.locales`"
    )


def test_an_entry_has_the_form_that_the_frontend_reads(infos, tool):
    entry = tool.node_texts(infos["LTX2_LoadLatents"])
    assert entry["display_name"] == "LTX-2 Load Latents"
    assert set(entry["inputs"]) == {"file"}
    assert set(entry["inputs"]["file"]) == {"name", "tooltip"}
    assert list(entry["outputs"]) == ["0", "1", "2"]
    assert entry["outputs"]["0"] == {"name": "video"}
    assert entry["outputs"]["2"] == {"name": "canvas", "tooltip": infos["LTX2_LoadLatents"]["output_tooltips"][2]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_the_texts_of_every_node_and_of_nothing_else(language, infos, tool):
    english = {name: tool.node_texts(info) for name, info in infos.items()}
    assert len(english) >= 47
    assert tool.differences(english, texts_of(language)) == []


def test_what_is_missing_or_of_no_node_is_named(tool):
    english = {"A": {"display_name": "a", "inputs": {"x": {"name": "x"}}}}
    other = {"A": {"display_name": "b", "inputs": {"y": {"name": "y"}}}}
    assert tool.differences(english, other) == ["missing: A.inputs.x.name", "of no node: A.inputs.y.name"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_texts_to_the_frontend(language, tool):
    for path, text in tool.flat(texts_of(language)):
        assert text.strip() == text, path
        assert text, path
        assert not COMPILED & set(text), path


def test_sentences_are_chinese_and_end_as_such(tool):
    for path, text in tool.flat(texts_of("zh")):
        if path[-1] in ("tooltip", "description"):
            assert re.search(CHINESE, text), path
            assert not re.search(f"{CHINESE} ?[,.;:?!]|[,;:]{CHINESE}", text), f"punctuation of English: {path}"


def test_chinese_texts_name_the_numbers_of_the_english_ones(tool):
    english = dict(tool.flat(texts_of("en")))
    for path, text in tool.flat(texts_of("zh")):
        if path[-1] != "name":
            assert sorted(re.findall(NUMBER, text)) == sorted(re.findall(NUMBER, english[path])), f"{path}: {text}"


def test_chinese_texts_name_options_folders_and_nodes_as_they_are(infos, tool):
    texts = texts_of("zh")
    titles = {entry["display_name"] for entry in texts.values()}
    assert len(titles) == len(texts)
    for path, text in tool.flat(texts):
        assert set(re.findall("\u201c(LTX-2 [^\u201d]+)\u201d", text)) <= titles, f"{path}: {text}"
        if path[1:2] == ("inputs",) and path[-1] == "tooltip":
            said = infos[path[0]]["input"]
            _, options = {**said.get("required", {}), **said.get("optional", {})}[path[2]]
            folders = re.findall(r"models/\w+", options["tooltip"])
            assert re.findall(r"models/\w+", text) == folders, f"{path}: {text}"


def test_one_name_is_one_word_in_chinese():
    """An input has the same Chinese name wherever it is, but for nodes where it means something else."""
    named = {}
    for entry in texts_of("zh").values():
        for name, texts in entry["inputs"].items():
            named.setdefault(name, set()).add(texts["name"])
    assert {name for name, words in named.items() if len(words) > 1} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_categories_that_only_this_pack_has_are_named(language, infos):
    """Names are global in the frontend: those that ComfyUI has already are left to it."""
    categories = {part for info in infos.values() for part in info["category"].split("/")}
    named = texts_of(language, "main")["nodeCategories"]
    assert set(named) == categories - OF_COMFYUI
    assert all(named.values())
    if language == "en":
        assert all(key == value for key, value in named.items())
