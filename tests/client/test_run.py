"""`run` and `ltx2 run --server`: overrides, uploads, files, and the same call without a server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("as_file", [True, False])
def test_overrides_reach_the_server_in_both_forms(module, server, workflow, as_file):
    before = json.loads(workflow.read_text())
    source = workflow if as_file else before
    (path,) = module.run(source, {"My text.text": "rain", "1.size": 24}, server=server.url, output="out")
    assert path == Path("out/a_00001_.mp4")
    inputs, extra = json.loads(path.read_text())
    assert inputs == {"text": "rain", "size": 24}
    assert extra["extra_pnginfo"]["workflow"]["nodes"][0]["widgets_values"] == ["rain", 24]
    assert before == json.loads(workflow.read_text())


def test_wrong_overrides_are_refused_before_anything_is_sent(module, server, workflow):
    for name, text in {
        "size": "an override is named TITLE.INPUT",
        "Txt.size": "did you mean",
        "1.sise": "no input",
    }.items():
        with pytest.raises(module.LTX2Error, match=text):
            module.run(workflow, {name: 1}, server=server.url)
    with pytest.raises(module.LTX2Error, match="'Strange' is not; install it"):
        module.run({"1": {"class_type": "Strange", "inputs": {}}}, {"1.a": 1}, server=server.url)
    assert not server.posts


def test_files_that_a_graph_reads_are_uploaded(module, client, server, workflow):
    Path("input/sub").mkdir(parents=True)
    Path("input/sub/a.png").write_bytes(b"ours")
    Path("secret.png").write_bytes(b"secret")
    (server.folder / "input" / "sub").mkdir()
    (server.folder / "input" / "sub" / "a.png").write_bytes(b"theirs")

    def sent(image):
        graph = {
            "1": {"class_type": "Picture", "inputs": {"image": image}},
            "2": {"class_type": "Save", "inputs": {"text": ["1", 0], "prefix": "a"}},
        }
        (path,) = module.run(graph, server=client)
        return json.loads(path.read_text())[0]["image"]

    assert sent("sub/a.png") == "sub/a (1).png"
    assert (server.folder / "input" / "sub" / "a (1).png").read_bytes() == b"ours"
    assert sent("example.png") == "example.png"
    assert sent("../secret.png") == "../secret.png"
    assert not list(server.folder.rglob("secret*"))


def test_without_a_server_the_same_call_runs_here(module, own_nodes, workflow):
    (path,) = module.run(workflow, {"My text.text": "rain", "1.size": 24}, output="out")
    assert path == Path("out/a_00001_.mp4")
    text, extra = json.loads(path.read_text())
    assert text == "rain 24"
    assert extra["workflow"]["nodes"][0]["widgets_values"] == ["rain", 24]
    with pytest.raises(module.LTX2Error, match="65"):
        module.run(workflow, {"My text.size": 65}, output="out")


def test_a_run_here_tells_the_same_events(module, own_nodes, workflow):
    events = []
    module.run(workflow, output="out", progress=events.append)
    text, save = ("1", "My text"), ("2", "Save")
    assert [(type(event), event.node_id, event.title) for event in events[:-1]] == [
        (module.NodeStarted, *text),
        (module.NodeExecuted, *text),
        (module.NodeStarted, *save),
        (module.NodeExecuted, *save),
    ]
    assert events[-1] == module.Finished((module.ServerFile("a_00001_.mp4", "", "output"),))


def test_ctrl_c_cancels_on_the_server(module, client, server, workflow):
    server.gate.clear()

    def progress(event):
        if event == module.Status("running"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.run(workflow, server=client, progress=progress)
    while not server.history:
        time.sleep(0.005)
    (entry,) = server.history.values()
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_the_command_runs_on_a_server(ltx2, server, workflow):
    code, output, errors = ltx2(
        "run", workflow, "--server", server.url, "--set", "My text.text=rain", "--output", "out"
    )
    assert (code, output) == (0, "out/a_00001_.mp4\n"), errors
    assert f"{server.url}: ended" in errors
    assert json.loads(Path(output.strip()).read_text())[0] == {"text": "rain", "size": 16}
    assert ltx2("run", workflow, "--server", server.url, "-o", "new/clip.mp4")[:2] == (0, "new/clip.mp4\n")
    assert [path.name for path in Path("new").iterdir()] == ["clip.mp4"]


def test_ctrl_c_ends_the_command_and_the_graph(ltx2, server, workflow, ctrl_c):
    server.gate.clear()
    with ctrl_c():
        code, output, errors = ltx2("run", workflow, "--server", server.url)
    assert (code, output) == (130, "")
    assert errors.endswith("ltx2: cancelled\n")
    assert server.interrupts > 0
    assert not list((server.folder / "output").iterdir())


def test_the_commands_exit_codes(ltx2, server, workflow):
    code, _, errors = ltx2("run", workflow, "--server", server.url, "--set", "1.size=65")
    assert (code, "My text (node 1, Text): input 'size': Value 65 bigger" in errors) == (2, True)
    code, _, errors = ltx2("run", workflow, "--server", server.url, "--set", "1.text=broken")
    assert (code, "RuntimeError: it is broken" in errors) == (1, True)
    code, _, errors = ltx2("run", workflow, "--server", server.url, "--device", "cpu")
    assert (code, "leave them out" in errors) == (2, True)
    unsaved = {"1": {"class_type": "Text", "inputs": {"text": "a", "size": 8}}}
    Path("none.json").write_text(json.dumps(unsaved))
    code, _, errors = ltx2("run", "none.json", "--server", server.url, "-o", "a.mp4")
    assert (code, "-o takes a graph with one output node" in errors) == (2, True)
