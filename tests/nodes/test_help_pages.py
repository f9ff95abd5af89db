"""The help pages: one for each node, tables equal to the schemas, and names of nodes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "web" / "docs"


@pytest.fixture(scope="module")
def tables(tool_module):
    """The module of the tool that writes the tables."""
    return tool_module("docs/tables.py")


def pages():
    return {file.stem: file.read_text(encoding="utf-8") for file in PAGES.glob("*.md")}


def by_hand(page, tables):
    return page.partition(tables.BEGIN)[0]


def test_every_node_has_a_page_and_every_page_a_node(infos):
    assert set(pages()) == set(infos)


def test_tables_say_what_the_schemas_say(infos, tables):
    old = [name for name, page in pages().items() if page != tables.with_tables(page, infos[name])]
    assert not old, f"run `python -m tools.docs`: {old}"


def test_what_is_written_by_hand(infos, tables):
    """A title, what the node is for, an example; and not the inputs once more."""
    for name, page in pages().items():
        text = by_hand(page, tables)
        assert text.startswith(f"# {infos[name]['display_name']}\n\n"), name
        assert "**Example**: " in text, name
        assert 5 <= len(text.splitlines()) <= 32, name
        assert max(map(len, text.splitlines())) <= 130, name
        assert "|---" not in text.replace(" ", ""), f"{name}: tables are generated"


def test_pages_name_only_nodes_and_inputs_that_exist(infos, tables):
    titles = {info["display_name"] for info in infos.values()}
    inputs = {name for info in infos.values() for side in info["input_order"].values() for name in side}
    outputs = {name for info in infos.values() for name in info["output_name"]}
    for name, page in pages().items():
        for code in re.findall(r"`([^`]+)`", " ".join(by_hand(page, tables).split())):
            if code.startswith("LTX-2 "):
                assert code in titles, f"{name} names {code}"
            elif re.fullmatch(r"[a-z]+(_[a-z]+)+", code) and code not in ("noise_mask", "euler_ancestral"):
                known = inputs | outputs | {"gradient_estimation", "euler_cfg_pp", "cfg_star"}
                assert code in known, f"{name} names {code}"


def test_a_table_of_every_kind_of_input(tables):
    info = {
        "input": {
            "required": {
                "model": ["LTX2_TRANSFORMER", {"tooltip": "From a | loader."}],
                "steps": ["INT", {"default": 8, "min": 1, "max": 10_000, "step": 1, "tooltip": "How many."}],
                "share": ["FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01}],
                "way": ["COMBO", {"default": "a", "options": ["a", "b"]}],
            },
            "optional": {
                "on": ["BOOLEAN", {"default": True, "advanced": True}],
                "text": ["STRING", {"default": "word " * 40}],
            },
        },
        "input_order": {"required": ["model", "steps", "share", "way"], "optional": ["on", "text"]},
        "output_name": ["sigmas"],
        "output": ["SIGMAS"],
        "output_tooltips": [None],
    }
    lines = tables.tables(info).splitlines()
    assert "| **model** | `LTX2_TRANSFORMER` |  |  | From a \\| loader. |" in lines
    assert "| **steps** | `INT` | `8` | 1 to 10000 | How many. |" in lines
    assert "| **share** | `FLOAT` | `0.5` | 0 to 1, step 0.01 |  |" in lines
    assert "| **way** | `COMBO` | `a` | `a`, `b` |  |" in lines
    assert "| **on** (optional, advanced) | `BOOLEAN` | on |  |  |" in lines
    assert any(line.startswith("| **text** (optional) | `STRING` | `word") and "word ...`" in line for line in lines)
    assert lines[-3:] == ["| Output | Type |", "| --- | --- |", "| **sigmas** | `SIGMAS` |"]


def test_tables_are_replaced_and_the_rest_stays(tables):
    info = {"input": {}, "input_order": {}, "output_name": ["x"], "output": ["INT"], "output_tooltips": ["An x."]}
    page = f"# A\n\nText.\n\n{tables.BEGIN}\nold\n{tables.END}\n\nMore.\n"
    new = tables.with_tables(page, info)
    assert new.startswith("# A\n\nText.\n\n")
    assert new.endswith(f"{tables.END}\nMore.\n")
    assert "old" not in new
    assert tables.with_tables(new, info) == new
