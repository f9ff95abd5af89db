"""What benchmarks report: rows that are well formed, one table, JSON lines, and README's tables of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def report(benchmark_module):
    return benchmark_module("report")


def test_goals_bound_ours_or_the_ratio(report):
    assert report.Row("S1", "one", "GB", 2.0, 4.0, 2.1, "ours").passes is True
    assert report.Row("S1", "one", "GB", 2.2, None, 2.1, "ours").passes is False
    by_ratio = report.Row("T1", "two", "ms", 90.0, 100.0, 0.9, "ratio")
    assert (by_ratio.ratio, by_ratio.passes) == (0.9, True)
    assert report.Row("T1", "two", "ms", 91.0, 100.0, 0.9, "ratio").passes is False
    assert report.Row("T1", "no goal", "ms", 91.0, 100.0, None, "ratio").passes is None


@pytest.mark.parametrize("peer, of", [(None, "ratio"), (0.0, "ratio"), (1.0, "theirs")])
def test_a_goal_that_cannot_be_judged_is_refused(report, peer, of):
    with pytest.raises(ValueError, match="must"):
        report.Row("T1", "two", "ms", 1.0, peer, 0.9, of)


def test_lines_of_the_table_stand_below_its_head(report):
    passing = report.line(report.Row("S1", "one", "GB", 2.0, 4.0, 2.1, "ours"))
    failing = report.line(report.Row("T1", "two", "ms", 91.5, 100.0, 0.9, "ratio"))
    assert passing.split() == "S1 one GB 2 4 0.500 ours <= 2.1 yes".split()
    assert failing.split() == "T1 two ms 91.5 100 0.915 ratio <= 0.9 NO".split()
    columns = [report.HEAD.index(name) for name in ("what", "unit", "pass")]
    assert [passing[at:].split()[0] for at in columns] == ["one", "GB", "yes"]


def test_json_lines_say_where_they_come_from(report, tmp_path):
    settings = report.settings("cpu", "fp32")
    row = report.Row("S1", "one", "GB", 2.0, 4.0, 2.1, "ours")
    report.write(tmp_path / "new" / "some.jsonl", [report.record(row, settings)] * 2)
    first, second = map(json.loads, (tmp_path / "new" / "some.jsonl").read_text().splitlines())
    assert first == second
    assert {"commit", "date", "torch", "diffusers", "machine", "device", "threads", "dtypes"} <= first.keys()
    assert (first["id"], first["ratio"], first["pass"], first["dtypes"]) == ("S1", 0.5, True, "fp32")


def test_a_run_gathers_the_rows_of_its_modules(benchmark_module, capsys):
    """The quickest module stands for all of them."""
    benchmark_module("text")
    (record,) = benchmark_module("run").run(("text",), {"commit": "none"})
    assert (record["module"], record["id"], record["commit"]) == ("text", "S7", "none")
    assert record["pass"]
    table = capsys.readouterr().out.splitlines()
    assert table[1].startswith("S7")
    assert " s in all" in table[-1]


def test_every_module_that_is_run_gives_rows(benchmark_module):
    for name in benchmark_module("run").MODULES:
        assert callable(benchmark_module(name).rows), name


def test_committed_results_are_of_one_whole_run(benchmark_module):
    lines = [json.loads(line) for line in (RESULTS / "cpu.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["module"] for line in lines} == set(benchmark_module("run").MODULES), "run `make bench`"
    assert len({(line["commit"], line["date"]) for line in lines}) == 1
    for line in lines:
        number = line["ours"] if line["of"] == "ours" else line["ratio"]
        assert line["pass"] == (None if line["goal"] is None else number <= line["goal"]), line


def test_readme_shows_the_committed_results(tool_module):
    tool = tool_module("benchmarks/table.py")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == tool.with_tables(readme, RESULTS), "run `python -m tools.benchmarks`"


def test_tables_show_goals_that_are_missed(tool_module, report, tmp_path):
    tool, settings = tool_module("benchmarks/table.py"), report.settings("cpu", "fp32")
    rows = (
        report.Row("S1", "reached", "GB", 2.0, 4.0, 2.1, "ours"),
        report.Row("T1", "missed", "ms", 95.0, 100.0, 0.9, "ratio"),
        report.Row("T1", "shown nowhere", "ms", 95.0, 100.0, None, "ratio"),
    )
    report.write(tmp_path / "cpu.jsonl", [report.record(row, {**settings, "commit": "0123456789ab"}) for row in rows])
    page = tool.with_tables(f"above\n{tool.BEGIN}\nold\n{tool.END}\nbelow\n", tmp_path)
    assert page.startswith(f"above\n{tool.BEGIN}\nCounted")
    assert page.endswith(f"\n{tool.END}\nbelow\n")
    assert "| S1 | reached | GB | 2 | 4 | 0.500 | 2.1 | yes |" in page
    assert "| T1 | missed | ms | 95 | 100 | 0.950 | 0.9 of the peer's | **no** |" in page
    assert "commit 012345678." in page
    assert "nowhere" not in page
    assert "old" not in page
    with pytest.raises(ValueError, match="must hold"):
        tool.with_tables("no markers", tmp_path)
