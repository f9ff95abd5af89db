"""The extension keeps to itself: one file that the frontend loads, nothing global, nothing of the frontend changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
SOURCES = sorted([*WEB.rglob("*.js"), *WEB.rglob("*.mjs")])
FORBIDDEN = {
    "a global": r"\b(window|globalThis|self)\.\w",
    "a listener of the whole page": r"\b(document|document\.body)\.addEventListener",
    "an element outside of nodes": r"document\.body\.",
    "a changed prototype": r"\.prototype\b",
    "text as markup": r"\b(inner|outer)HTML\b|insertAdjacentHTML",
    "a deprecated hook": r"getExtraMenuOptions|getCanvasMenuOptions|inputEl\b|onDrawForeground|setSizeForImage",
    "a package by name": r"from \"(?!\.)",
    "code from text": r"\beval\(|new Function",
}


def test_the_frontend_loads_one_file():
    """It imports every .js below `web`."""
    assert [path.relative_to(WEB).as_posix() for path in WEB.rglob("*.js")] == ["js/ltx2.js"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_module_keeps_to_itself(source, what):
    assert not re.search(FORBIDDEN[what], source.read_text(encoding="utf-8")), what


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_module_is_short_and_says_what_it_is_for(source):
    lines = source.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) < 200
    assert all(len(line) <= 120 for line in lines)


def test_styles_are_of_our_classes_and_in_the_colours_of_the_theme():
    text = re.sub(r"/\*.*?\*/", "", (WEB / "js" / "panels.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{", text):
        assert all(selector.strip().startswith(".ltx2-") for selector in selectors.split(",")), selectors
    assert not re.search(r"#[0-9a-f]{3,8}\b|\b(rgb|hsl)a?\(", text)
    assert set(re.findall(r"var\((--[\w-]+)", text)) == {
        *("--border-color", "--comfy-input-bg", "--comfy-menu-bg", "--descrip-text", "--error-text", "--input-text"),
        "--ltx2-stem",
    }


def test_every_text_of_a_panel_is_said():
    text = {source.name: source.read_text(encoding="utf-8") for source in SOURCES}
    english = text.pop("texts.mjs").split("const CHINESE")[0]
    keys = re.findall(r"(?:^ +|, )(\w+): \"", english, flags=re.MULTILINE)
    assert len(keys) > 40
    said = "".join(text.values())
    # Rules, fields and modalities are said by their names.
    assert {key for key in keys if not re.search(rf"\b{key}\b|`\$\{{name\}}_tokens`", said)} == set()
