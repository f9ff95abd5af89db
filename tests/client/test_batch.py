"""Batches: what runs, what is told in the manifest, and what a second call does."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest


def graph(text="hello", size=8):
    return {
        "1": {"class_type": "Text", "inputs": {"text": text, "size": size}, "_meta": {"title": "My text"}},
        "2": {"class_type": "Save", "inputs": {"text": ["1", 0], "prefix": "a"}},
    }


def rows(*texts):
    return [{"My text.text": text} for text in texts]


def lines(folder):
    return [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]


def texts(folder, results):
    """What each row's file says."""
    return [json.loads((folder / name).read_text())[0]["text"] for result in results for name in result.outputs]


@pytest.fixture
def batch(module, server, tmp_path):
    """`batch(rows, ...)` runs the graph on the small server, into `tmp_path / "out"`."""

    def run(rows, **options):
        options = {"server": server.url, "output": tmp_path / "out", "input": tmp_path / "input", **options}
        return module.batch(options.pop("graph", graph()), rows, **options)

    return run


def test_every_row_runs_and_is_told(batch, tmp_path):
    told = []
    results = batch(rows("a", "b", "c"), in_flight=2, progress=told.append)
    assert [(result.row, result.status) for result in results] == [(1, "done"), (2, "done"), (3, "done")]
    assert texts(tmp_path / "out", results) == ["a", "b", "c"]
    assert sorted(told, key=lambda each: each.row) == results
    written = lines(tmp_path / "out")
    assert [line["status"] for line in written].count("queued") == 3
    last = {line["row"]: line for line in written}
    assert last[2]["overrides"] == {"My text.text": "b"}
    assert last[2]["outputs"] == list(results[1].outputs)
    assert last[2]["error"] is None
    assert last[2]["seconds"] > 0
    assert len({line["prompt_id"] for line in written}) == 3


def test_no_more_than_in_flight_wait_on_the_server(batch, server):
    server.gate.clear()
    most = 0

    def watch():
        nonlocal most
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            most = max(most, len(server.posts) - len(server.history))
            time.sleep(0.005)
        server.gate.set()

    thread = threading.Thread(target=watch)
    thread.start()
    batch(rows(*"abcdefg"), in_flight=3)
    thread.join()
    assert most == 3
    assert len(server.posts) == 7


def test_a_second_call_does_only_what_is_not_done(batch, server, tmp_path):
    first = batch(rows("a", "broken", "c"))
    assert [result.status for result in first] == ["done", "failed", "done"]
    assert first[1].error == "My text (node 1, Text): RuntimeError: it is broken"
    assert len(server.posts) == 3
    again = batch(rows("a", "broken", "c"))
    assert len(server.posts) == 4
    assert (again[0], again[2]) == (first[0], first[2])
    changed = batch(rows("new", "a", "c", "c"))  # a new row before the others, the broken one mended, a row twice
    assert len(server.posts) == 6
    assert [result.row for result in changed] == [1, 2, 3, 4]
    assert changed[1].outputs == first[0].outputs
    assert texts(tmp_path / "out", changed) == ["new", "a", "c", "c"]
    assert {line["row"]: line for line in lines(tmp_path / "out")}[2]["outputs"] == list(first[0].outputs)
    (tmp_path / "out" / first[0].outputs[0]).unlink()
    batch(rows("a"))
    assert len(server.posts) == 7


def test_a_changed_graph_or_input_file_is_a_changed_row(batch, server, tmp_path):
    (tmp_path / "input").mkdir()
    picture = {
        "1": {"class_type": "Picture", "inputs": {"image": "a.png"}},
        "2": {"class_type": "Save", "inputs": {"text": ["1", 0], "prefix": "a"}},
    }
    (tmp_path / "input" / "a.png").write_bytes(b"one")
    batch([{}], graph=picture)
    batch([{}], graph=picture)
    assert len(server.posts) == 1
    (tmp_path / "input" / "a.png").write_bytes(b"two")
    batch([{}], graph=picture)
    assert len(server.posts) == 2
    picture["2"]["inputs"]["prefix"] = "b"
    (result,) = batch([{}], graph=picture)
    assert len(server.posts) == 3
    assert result.outputs[0].startswith("b_")


def test_refused_rows_fail_and_the_others_run(batch):
    results = batch([{"My text.size": 8}, {"My text.size": 65}, {"My text.size": 9}])
    assert [result.status for result in results] == ["done", "failed", "done"]
    assert "Value 65 bigger than max" in results[1].error


def test_wrong_names_are_refused_before_anything_runs(batch, module, server, tmp_path):
    with pytest.raises(module.LTX2Error, match="row 2: the graph has no node 'Mytext'; did you mean 'My text'"):
        batch([*rows("a"), {"Mytext.text": "b"}])
    with pytest.raises(module.LTX2Error, match="in_flight must be at least 1; got 0"):
        batch(rows("a"), in_flight=0)
    with pytest.raises(module.LTX2Error, match="rows run one by one; got in_flight 2"):
        batch(rows("a"), server=None, in_flight=2)
    assert not server.posts
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("has_ended", [True, False])
def test_what_a_killed_batch_left_on_the_server_is_not_queued_again(batch, server, module, tmp_path, has_ended):
    done = batch(rows("a"))
    written = lines(tmp_path / "out")
    (tmp_path / "out" / done[0].outputs[0]).unlink()
    (tmp_path / "out" / "manifest.jsonl").write_text(json.dumps(written[0]) + "\n")  # as a kill leaves it
    if not has_ended:
        server.history.clear()
        server.gate.clear()
        module.Client(server.url).queue(graph("a"), prompt_id=written[0]["prompt_id"])
        threading.Timer(0.2, server.gate.set).start()
    posts = len(server.posts)
    (again,) = batch(rows("a"))
    assert again.prompt_id == written[0]["prompt_id"]
    assert again.status == "done"
    assert len(server.posts) == posts
    assert (tmp_path / "out" / again.outputs[0]).is_file()


def test_a_row_that_the_server_forgot_or_cancelled_is_queued_anew(batch, server, tmp_path):
    batch(rows("a"))
    manifest = tmp_path / "out" / "manifest.jsonl"
    queued = manifest.read_text().splitlines()[0] + "\n"
    manifest.write_text(queued)
    server.restart()
    assert batch(rows("a"))[0].status == "done"
    assert len(server.posts) == 2
    queued = manifest.read_text().splitlines()[1] + "\n"
    manifest.write_text(queued)
    (entry,) = server.history.values()
    at = {"node_id": "1", "node_type": "Text"}
    entry["status"] = {"status_str": "error", "messages": [["execution_interrupted", at]]}
    (result,) = batch(rows("a"))
    assert result.status == "done"
    assert result.prompt_id not in queued


def test_when_the_server_goes_the_rest_is_left_for_later(batch, module, server, pack, monkeypatch, tmp_path):
    monkeypatch.setattr(pack("client.following"), "PATIENCE", 0.0)

    def progress(result):
        server.__exit__()

    with pytest.raises(module.NoAnswer, match="1 of 3 rows are done, run the batch again for the others"):
        batch(rows("a", "b", "c"), progress=progress)
    assert {line["row"]: line["status"] for line in lines(tmp_path / "out")}[1] == "done"
    assert "failed" not in [line["status"] for line in lines(tmp_path / "out")]


def test_a_line_that_was_cut_short_is_dropped(batch, server, tmp_path, caplog):
    batch(rows("a", "b"))
    manifest = tmp_path / "out" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    batch(rows("a", "b"))
    assert len(server.posts) == 2  # its files are on the server still
    assert "its last line was cut short and is dropped" in caplog.text
    assert all(json.loads(line) for line in manifest.read_text().splitlines())


def test_another_file_is_no_manifest(batch, module, server, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(module.LTX2Error, match="a manifest must hold results of rows; .*, line 1 does not"):
        batch(rows("a"))
    assert not server.posts


def test_cancelling_its_task_cancels_what_is_in_flight(module, server, tmp_path):
    server.gate.clear()

    async def main():
        job = module.abatch(graph(), rows(*"abcd"), server=server.url, output=tmp_path / "out", in_flight=2)
        task = asyncio.create_task(job)
        while len(server.posts) < 2 or not server.running:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(server.posts) == 2
    assert {line["row"]: line["status"] for line in lines(tmp_path / "out")} == {1: "cancelled", 2: "cancelled"}
    server.gate.set()
    results = module.batch(graph(), rows(*"abcd"), server=server.url, output=tmp_path / "out")
    assert [result.status for result in results] == ["done"] * 4
    assert len(server.posts) == 6


def test_within_an_event_loop_the_other_call_is_named(module, batch):
    async def main():
        batch([{"1.text": "a"}])

    with pytest.raises(module.LTX2Error, match=r"await abatch\(\.\.\.\)"):
        asyncio.run(main())


def test_without_a_server_rows_run_here(module, own_nodes, workflow):
    options = {"output": "out", "input": "in"}
    results = module.batch(workflow, [{"1.text": "a"}, {"1.size": 65}, {"1.text": "c"}], **options)
    assert [result.status for result in results] == ["done", "failed", "done"]
    assert json.loads((Path("out") / results[2].outputs[0]).read_text())[0] == "c 16"
    before = len(lines("out"))
    assert module.batch(workflow, [{"1.text": "a"}, {"1.text": "c"}], **options)[0] == results[0]
    assert len(lines("out")) == before + 1  # row 3 is row 2 now


def test_the_command(ltx2, server, workflow):
    Path("rows.csv").write_text("My text.text,1.size\nrain,\nbroken,9\n,65\n")
    command = ["batch", workflow, "rows.csv", "--server", server.url, "--in-flight", 2, "-o", "out"]
    code, output, errors = ltx2(*command)
    assert code == 1
    (name,) = output.splitlines()
    assert json.loads(Path(name).read_text())[0] == {"text": "rain", "size": 16}
    assert "row 2 failed: My text (node 1, Text): RuntimeError: it is broken" in errors
    assert "Value 65 bigger" in errors
    assert errors.endswith("1 of 3 rows are done\n")
    Path("rows.csv").write_text("My text.text,1.size\nrain,\n")
    assert ltx2(*command)[:2] == (0, "")
    Path("rows.csv").write_text("My txt.text\nrain\n")
    assert ltx2(*command)[0] == 2
    assert ltx2(*command, "--device", "cpu")[0] == 2


def test_ctrl_c_ends_the_command_and_a_rerun_goes_on(ltx2, server, workflow, ctrl_c):
    Path("rows.jsonl").write_text('{"1.text": "a"}\n\n{"1.text": "b"}\n')
    server.gate.clear()
    command = ["batch", workflow, "rows.jsonl", "--server", server.url, "-o", "out"]
    with ctrl_c():
        code, output, errors = ltx2(*command)
    assert (code, output, errors.splitlines()[-1]) == (130, "", "ltx2: cancelled")
    assert server.interrupts > 0
    assert lines("out")[-1]["status"] == "cancelled"
    server.gate.set()
    code, output, _ = ltx2(*command)
    assert (code, len(output.splitlines())) == (0, 2)
