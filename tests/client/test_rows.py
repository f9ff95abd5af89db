"""Files of rows: what they hold, and what is wrong with them."""

from __future__ import annotations

import pytest


@pytest.fixture
def read(pack, tmp_path):
    """`read("rows.csv", content)` are the overrides of each row."""

    def rows(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = pack("client.rows").read_rows(path)
        assert [row.number for row in found] == list(range(1, len(found) + 1))
        return [row.overrides for row in found]

    return rows


def test_csv(read):
    content = '\ufeffA.text,B c.size\r\n"one, ""two""",8\r\n\r\n,9\r\n"x\ny",\r\n'
    assert read("rows.CSV", content) == [
        {"A.text": 'one, "two"', "B c.size": "8"},
        {"B c.size": "9"},
        {"A.text": "x\ny"},
    ]


def test_jsonl(read):
    content = '{"A.text": "caf\u00e9", "A.size": 8}\n\n{}\n{"A.is_on": false}'
    assert read("rows.jsonl", content) == [{"A.text": "caf\u00e9", "A.size": 8}, {}, {"A.is_on": False}]


@pytest.mark.parametrize(
    "name,content,text",
    [
        ("a.csv", "", "a batch must have rows"),
        ("a.csv", "A.b,A.b\n1,2\n", "columns must have names, each its own"),
        ("a.csv", "A.b,\n1,2\n", "columns must have names"),
        ("a.csv", "A.b\n", "a batch must have rows"),
        ("a.csv", "A.b\n1\n1,2\n", "a row must have 1 cells; .*, line 3 has 2"),
        ("a.csv", 'A.b\n"1\n', "rows must be a CSV or JSONL file in UTF-8"),
        ("a.csv", b"A.b\n\xff\n", "rows must be a CSV or JSONL file in UTF-8"),
        ("a.jsonl", "{}\nA.b,1\n", "a line of rows must be JSON; .*, line 2 is not"),
        ("a.jsonl", "[1]\n", "a row must be an object .*, line 1 is none"),
        ("a.jsonl", "\n", "a batch must have rows"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(read, module, name, content, text):
    with pytest.raises(module.LTX2Error, match=text):
        read(name, content)


def test_a_missing_file_is_told(pack, module, tmp_path):
    with pytest.raises(module.LTX2Error, match="rows must be a readable file"):
        pack("client.rows").read_rows(tmp_path / "none.csv")
