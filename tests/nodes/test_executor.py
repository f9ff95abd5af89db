"""Graphs are computed in order, once, and as little as possible; errors and Ctrl-C leave everything usable."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent


@pytest.fixture
def io(pack):
    return pack("nodes.host.headless.io")


@pytest.fixture
def nodes(io, make_node):
    """Number -> Add -> Show, with Stamp (fingerprint) and Fail."""
    stamp = {"value": 0}
    fingerprint = {"fingerprint_inputs": lambda cls, **_: stamp["value"]}
    whole = io.Int
    made = {
        "Number": make_node("Number", [whole.Input("value")], [whole.Output()], lambda cls, value: (value,)),
        "Add": make_node(
            "Add",
            [whole.Input("a"), whole.Input("b", min=0, max=100), whole.Input("c", optional=True)],
            [whole.Output()],
            lambda cls, a, b, c=0: (a + b + c,),
            display_name="Sum",
        ),
        "Show": make_node(
            "Show",
            [whole.Input("value")],
            function=lambda cls, value: io.NodeOutput(ui={"text": (str(value),)}),
            is_output_node=True,
        ),
        "Stamp": make_node("Stamp", [], [whole.Output()], lambda cls: (stamp["value"],), methods=fingerprint),
        "Fail": make_node("Fail", [whole.Input("value")], [whole.Output()], lambda cls, value: (1 // value,)),
    }
    made["stamp"] = stamp
    return made


@pytest.fixture
def executor(pack, host, nodes):
    classes = [node for name, node in nodes.items() if name != "stamp"]
    return pack("nodes.host.headless.executor").Executor(host, classes)


def graph(**changes):
    made = {
        "4": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
        "3": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": ["2", 0]}},
        "1": {"class_type": "Number", "inputs": {"value": 1}},
        "2": {"class_type": "Number", "inputs": {"value": 2}},
    }
    for node_id, inputs in changes.items():
        made[node_id[1:]]["inputs"] |= inputs
    return made


def counts(nodes):
    return {name: len(nodes[name].runs) for name in ("Number", "Add", "Show")}


def test_a_graph_gives_its_outputs(executor):
    result = executor.run(graph())
    assert result.ui == {"4": {"text": ("3",)}}
    assert result.values["3"] == (3,)
    assert result.executed == ("1", "2", "3", "4")


def test_it_makes_its_host_that_of_the_process(pack, executor, host):
    others = pack("nodes.host.headless.host").HeadlessHost()
    pack("nodes.host").use(others)
    executor.run(graph())
    assert pack("nodes.host").current() is host


def test_unchanged_nodes_are_not_run_again(executor, nodes):
    executor.run(graph())
    assert executor.run(graph()).executed == ()
    assert executor.run(graph()).ui == {"4": {"text": ("3",)}}, "kept with the outputs"
    result = executor.run(graph(_2={"value": 5}))
    assert result.executed == ("2", "3", "4")
    assert result.ui == {"4": {"text": ("6",)}}
    assert counts(nodes) == {"Number": 3, "Add": 2, "Show": 2}


def test_ids_and_titles_do_not_count(executor):
    executor.run(graph())
    renamed = {f"9{id}": {**node, "_meta": {"title": "x"}} for id, node in graph().items()}
    for node in renamed.values():
        node["inputs"] = {k: [f"9{v[0]}", v[1]] if isinstance(v, list) else v for k, v in node["inputs"].items()}
    assert executor.run(renamed).executed == ()


def test_equal_nodes_run_once(executor, nodes):
    assert executor.run(graph(_2={"value": 1})).executed == ("1", "3", "4")
    assert counts(nodes)["Number"] == 1


def test_results_that_the_graph_does_not_need_are_dropped(executor):
    executor.run(graph())
    executor.run({"4": {"class_type": "Show", "inputs": {"value": 8}}})
    assert executor.run(graph()).executed == ("1", "2", "3", "4")


def test_a_changed_fingerprint_runs_the_node_and_what_hangs_on_it(executor, nodes):
    prompt = graph(_3={"b": ["5", 0]}) | {"5": {"class_type": "Stamp", "inputs": {}}}
    executor.run(prompt)
    assert executor.run(prompt).executed == ()
    nodes["stamp"]["value"] = 7
    assert executor.run(prompt).executed == ("5", "3", "4")
    nodes["stamp"]["value"] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        executor.run(prompt)


def test_hidden_values_and_the_locked_class(pack, host, io, make_node):
    def look(cls):
        with pytest.raises(AttributeError):
            cls.memory = 1
        return io.NodeOutput(ui={"seen": (cls.hidden.prompt, cls.hidden.extra_pnginfo, cls.hidden.unique_id)})

    node = make_node("Look", function=look, is_output_node=True, hidden=[io.Hidden.unique_id])
    prompt = {"1": {"class_type": "Look", "inputs": {}, "_meta": {"title": "t"}}}
    result = pack("nodes.host.headless.executor").Executor(host, [node]).run(prompt, {"workflow": {"nodes": []}})
    assert result.ui["1"]["seen"] == (prompt, {"workflow": {"nodes": []}}, "1")


def test_nodes_run_in_inference_mode(pack, host, io, make_node):
    def function(cls):
        assert torch.is_inference_mode_enabled()
        return io.NodeOutput()

    node = make_node("Look", function=function, is_output_node=True)
    pack("nodes.host.headless.executor").Executor(host, [node]).run({"1": {"class_type": "Look", "inputs": {}}})
    assert len(node.runs) == 1


def test_a_failing_node_is_named_and_the_rest_is_kept(pack, executor, nodes):
    prompt = graph(_3={"b": ["5", 0]})
    prompt["5"] = {"class_type": "Fail", "inputs": {"value": 0}, "_meta": {"title": "Divide"}}
    with pytest.raises(pack("nodes.host.headless.executor").NodeError) as caught:
        executor.run(prompt)
    assert str(caught.value).startswith("Divide (node 5, Fail) failed: ZeroDivisionError: ")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.node_id == "5"
    prompt["5"]["inputs"]["value"] = 1
    assert executor.run(prompt).executed == ("5", "3", "4"), "node 1 ran before"


def test_a_wrong_value_that_appears_on_a_link_is_refused(pack, executor):
    with pytest.raises(pack("nodes.host.graph.problems").GraphError) as caught:
        executor.run(graph(_2={"value": 500}))
    assert caught.value.report["node_errors"]["3"]["errors"][0]["type"] == "value_bigger_than_max"
    assert "Sum (node 3, Add): input 'b': Value 500 bigger than max of 100" in str(caught.value)


def test_a_wrong_graph_runs_nothing(executor, nodes):
    with pytest.raises(ValueError, match="Required input is missing"):
        executor.run(graph() | {"8": {"class_type": "Show", "inputs": {}}})
    assert counts(nodes) == {"Number": 0, "Add": 0, "Show": 0}


def test_nodes_must_return_what_they_declare(pack, host, io, make_node):
    node = make_node("Odd", [], [io.Int.Output(), io.Int.Output()], lambda cls: (1,), is_output_node=True)
    run = pack("nodes.host.headless.executor").Executor(host, [node]).run
    with pytest.raises(ValueError, match="must return 2 values; got 1"):
        run({"1": {"class_type": "Odd", "inputs": {}}})


def test_cancelling_stops_at_the_next_step(pack, host, io, make_node):
    interrupted = pack("nodes.host.headless.cancellation").Interrupted
    steps = []

    def loop(cls):
        with host.progress("stage") as on_step:
            for step in itertools.count():
                on_step(step, 100)
                steps.append(step)
                if step == 3:
                    host.cancellation.request()

    node = make_node("Loop", function=loop, is_output_node=True)
    with pytest.raises(interrupted):
        pack("nodes.host.headless.executor").Executor(host, [node]).run({"1": {"class_type": "Loop", "inputs": {}}})
    assert steps == [0, 1, 2, 3]


def test_progress_off_a_terminal_is_a_line_for_each_stage(executor, host):
    executor.run(graph())
    with host.progress("Denoise") as on_step:
        for step in range(9):
            on_step(step, 8)
    lines = host.stream.getvalue().splitlines()
    assert [line.rsplit("  ", 1)[0] for line in lines] == [
        "[1/4] Number",
        "[2/4] Number",
        "[3/4] Sum",
        "[4/4] Show",
        "    Denoise  8/8",
    ]


def test_progress_on_a_terminal_is_drawn_at_most_ten_times_a_second(pack):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = pack("nodes.host.headless.progress").Progress(
        pack("nodes.host.headless.cancellation").Cancellation(), stream
    )
    started = time.monotonic()
    with progress.stage("Denoise") as on_step:
        while time.monotonic() < started + 0.35:
            on_step(3, 8)
    drawn = [text for text in stream.getvalue().split("\r\x1b[K") if "[#########---" in text]
    assert 2 <= len(drawn) <= 5
    assert stream.getvalue().endswith(" s\n")


CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from conftest import load_pack, PACK
import importlib
load_pack()
pack = lambda name: importlib.import_module(PACK + "." + name)
io = pack("nodes.host.headless.io")
current = pack("nodes.host").current
partial_file = pack("ltx2.media.partial_file").partial_file

def define_schema(cls):
    return io.Schema("Slow", "Slow", "x", [io.Boolean.Input("deaf")], is_output_node=True)

def execute(cls, deaf):
    host = current()
    path, subfolder = host.save_path("clip", ".mp4", 8, 8)
    host.temp_file(".mp4").write_bytes(b"scratch")
    with partial_file(path) as temporary, host.progress("Denoise") as on_step:
        temporary.write_bytes(b"half")
        for step in range(10000):
            if not deaf:
                on_step(step, 10000)
            if step == 1:
                print("running", host.folders.temp, flush=True)
            time.sleep(0.01)
    saved = {{"filename": path.name, "subfolder": subfolder, "type": "output"}}
    return io.NodeOutput(ui={{"images": [saved]}})

methods = {{"define_schema": classmethod(define_schema), "execute": classmethod(execute)}}
pack("nodes").node_classes = lambda: [type("Slow", (io.ComfyNode,), methods)]
sys.exit(pack("cli").main(sys.argv[1:]))
"""


@pytest.mark.parametrize("deaf", ["false", "true"], ids=["once", "twice"])
def test_ctrl_c_ends_a_run_with_130_and_leaves_nothing(tmp_path, deaf):
    """A node that checks stops at the first Ctrl-C; one that does not stops at the second."""
    (tmp_path / "graph.json").write_text('{"1": {"class_type": "Slow", "inputs": {"deaf": true}}}')
    arguments = ["run", "graph.json", "-o", "out/clip.mp4", "--set", f"1.deaf={deaf}"]
    script = textwrap.dedent(CHILD).format(here=str(HERE))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = child.stdout.readline().split()
    assert first[:1] == ["running"], child.communicate()[1]
    assert Path(first[1]).is_dir()
    child.send_signal(signal.SIGINT)
    if deaf == "true":
        time.sleep(0.3)
        assert child.poll() is None
        child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 130, errors
    assert "cancelled" in errors
    assert "Traceback" not in errors
    assert not Path(first[1]).exists(), "the temp folder is gone"
    assert list((tmp_path / "out").iterdir()) == []
