"""The command line: what it prints, what it writes, what it refuses, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nodes(pack, make_node, monkeypatch, tmp_path):
    """The pack with two nodes: Text (with a seed) -> Save, which writes what `cls.hidden` holds. Runs in tmp_path."""
    io, current = pack("nodes.host.headless.io"), pack("nodes.host").current

    def save(cls, text, copies):
        saved = []
        for _ in range(copies):
            path, subfolder = current().save_path("clips/text", ".mp4", 8, 8)
            path.write_text(json.dumps([text, cls.hidden.prompt, cls.hidden.extra_pnginfo]))
            saved.append({"filename": path.name, "subfolder": subfolder, "type": "output"})
        return io.NodeOutput(ui={"images": saved})

    def join(cls, text, seed, size):
        assert text != "broken", "it is broken"
        return (f"{text} {seed} {size}",)

    inputs = [
        io.String.Input("text"),
        io.Int.Input("seed", control_after_generate=True),
        io.Int.Input("size", min=8, max=64, step=8, default=8),
    ]
    made = [
        make_node("Text", inputs, [io.String.Output()], join, display_name="Write"),
        make_node("Save", [io.String.Input("text"), io.Int.Input("copies")], [], save, is_output_node=True),
    ]
    monkeypatch.setattr(pack("nodes"), "node_classes", lambda: made, raising=False)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def ltx2(pack, nodes, capsys):
    """`ltx2("run", "a.json")` is (exit code, standard output, standard error)."""

    def run(*arguments):
        code = pack("cli").main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def workflow(tmp_path):
    """The path of a UI workflow."""
    made = {
        "nodes": [
            {
                "id": 1,
                "type": "Text",
                "title": "My text",
                "outputs": [{"name": "STRING", "type": "STRING", "links": [1]}],
                "widgets_values": ["hello", 3, "fixed", 16],
            },
            {
                "id": 2,
                "type": "Save",
                "inputs": [{"name": "text", "type": "STRING", "link": 1}],
                "widgets_values": ["", 1],
            },
        ],
        "links": [[1, 1, 0, 2, 0, "STRING"]],
        "version": 0.4,
    }
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(made))
    return path


def test_a_run_saves_into_the_output_folder(ltx2, workflow, tmp_path):
    code, output, errors = ltx2("run", workflow)
    assert (code, output) == (0, "output/clips/text_00001_.mp4\n"), errors
    assert "[1/2] My text" in errors
    text, prompt, extra = json.loads((tmp_path / output.strip()).read_text())
    assert text == "hello 3 16"
    assert prompt["1"]["inputs"] == {"text": "hello", "seed": 3, "size": 16}
    assert extra == {"workflow": json.loads(workflow.read_text())}


def test_values_are_set_by_id_and_title_and_recorded(ltx2, workflow, tmp_path):
    changes = ["--set", "1.text=a = b", "--set", "My text.size=24", "--seed", 9]
    code, output, _ = ltx2("run", workflow, *changes, "--output", tmp_path / "other")
    assert code == 0
    text, prompt, extra = json.loads(Path(output.strip()).read_text())
    assert text == "a = b 9 24"
    assert prompt["1"]["inputs"] == {"text": "a = b", "seed": 9, "size": 24}
    assert extra["workflow"]["nodes"][0]["widgets_values"] == ["a = b", 9, "fixed", 24]


def test_a_file_is_saved_where_it_was_asked_for(ltx2, workflow, tmp_path):
    assert ltx2("run", workflow, "-o", "new/clip.mp4")[:2] == (0, "new/clip.mp4\n")
    assert json.loads((tmp_path / "new/clip.mp4").read_text())[0] == "hello 3 16"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clip.mp4"]
    assert not (tmp_path / "output").exists()
    code, _, errors = ltx2("run", workflow, "-o", "new/clip.mp4", "--seed", 4)
    assert code == 2
    assert "exists and is kept; choose another name or give --force" in errors
    assert ltx2("run", workflow, "-o", "new/clip.mp4", "--seed", 4, "--force")[0] == 0
    assert json.loads((tmp_path / "new/clip.mp4").read_text())[0] == "hello 4 16"


def test_a_file_takes_one_result(ltx2, nodes, workflow, tmp_path):
    code, _, errors = ltx2("run", workflow, "-o", "clip.mp4", "--set", "2.copies=0")
    assert (code, "this one saved 0" in errors) == (2, True)
    graph = json.loads(ltx2("api", workflow)[1])
    graph["3"] = graph["2"]
    (tmp_path / "two.json").write_text(json.dumps(graph))
    ran = len(nodes[0].runs)
    code, _, errors = ltx2("run", "two.json", "-o", "clip.mp4")
    assert (code, "nodes 2, 3 are" in errors) == (2, True)
    assert ltx2("run", workflow, "-o", "clip.webm")[0] == 2
    assert len(nodes[0].runs) == ran, "refused before anything ran"
    assert not (tmp_path / "clip.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "1.size=9"], "input 'size': Value 9 is not a multiple of the step 8 counted from 8; choose 8 or 16"),
        (["--set", "1.size=big"], "it must be a number"),
        (["--set", "1.sise=8"], "has no input 'sise'; its inputs are 'size'"),
        (["--set", "Other.size=8"], "no node 'Other'"),
        (["--set", "size=8"], "--set takes NODE.INPUT=VALUE; got 'size=8'"),
        (["--set", "1.size"], "--set takes NODE.INPUT=VALUE"),
    ],
)
def test_wrong_values_are_refused(ltx2, workflow, arguments, words):
    code, _, errors = ltx2("run", workflow, *arguments)
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors


def test_wrong_files_are_refused(ltx2, tmp_path):
    (tmp_path / "bad.json").write_text("<html>")
    for name, words in (
        ("missing.json", "a graph must be a readable file; missing.json is not"),
        ("bad.json", "a graph must be a JSON file; bad.json is not"),
        ("no such workflow", "shipped are"),
    ):
        code, _, errors = ltx2("run", name)
        assert (code, words in errors) == (2, True), errors


def test_a_failing_node_gives_a_message_and_with_debug_a_traceback(ltx2, workflow):
    code, _, errors = ltx2("run", workflow, "--set", "1.text=broken")
    assert code == 1
    assert "ltx2: My text (node 1, Text) failed: AssertionError: it is broken" in errors
    assert "Traceback" not in errors
    assert "Traceback" in ltx2("run", workflow, "--set", "1.text=broken", "--debug")[2]


def test_the_api_form(ltx2, workflow, tmp_path):
    code, output, _ = ltx2("api", workflow)
    assert code == 0
    assert json.loads(output) == {
        "1": {
            "inputs": {"text": "hello", "seed": 3, "size": 16},
            "class_type": "Text",
            "_meta": {"title": "My text"},
        },
        "2": {"inputs": {"text": ["1", 0], "copies": 1}, "class_type": "Save", "_meta": {"title": "Save"}},
    }
    assert ltx2("api", workflow, "-o", "api.json")[0] == 0
    assert (tmp_path / "api.json").read_text() == output
    assert ltx2("api", workflow, "-o", "api.json")[0] == 0, "it is that already"
    (tmp_path / "api.json").write_text("mine")
    assert ltx2("api", workflow, "-o", "api.json")[0] == 2
    assert (tmp_path / "api.json").read_text() == "mine"
    assert ltx2("run", "api.json")[0] == 2
    assert ltx2("api", workflow, "-o", "api.json", "--force")[0] == 0
    assert ltx2("run", "api.json", "-o", "from_api.mp4")[0] == 0
    text, _, extra = json.loads((tmp_path / "from_api.mp4").read_text())
    assert (text, extra) == ("hello 3 16", None)


def test_wrong_use(ltx2):
    assert ltx2()[0] == 2
    assert ltx2("fly")[0] == 2
    assert ltx2("run")[0] == 2
    code, output, _ = ltx2("--help")
    assert (code, "inspect" in output) == (0, True)


def test_a_device_must_exist(ltx2, workflow):
    code, _, errors = ltx2("run", workflow, "--device", "tpu")
    assert (code, "a device must be auto, cpu, cuda" in errors) == (2, True)


def test_shipped_workflows_are_found_by_their_words(pack, tmp_path, monkeypatch):
    packaged = pack("nodes.host.graph.packaged")
    for name in ("Text to Video", "Text to Video (distilled)", "Image to Video (distilled)"):
        (tmp_path / f"{name}.json").write_text("{}")
    monkeypatch.setattr(packaged, "WORKFLOWS", tmp_path)
    assert packaged.find_workflow("text video distilled").stem == "Text to Video (distilled)"
    assert packaged.find_workflow("Text to Video").stem == "Text to Video"
    assert packaged.find_workflow("Text to Video.json").stem == "Text to Video"
    for name in ("distilled", "audio", ""):
        with pytest.raises(ValueError, match="shipped are"):
            packaged.find_workflow(name)


HELP = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pack", {root!r} + "/__init__.py", submodule_search_locations=[{root!r}])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["pack"])
from pack.cli import main
code = main(["--help"])
assert "torch" not in sys.modules
sys.exit(code)
"""


def test_help_answers_at_once():
    started = time.monotonic()
    script = HELP.format(root=str(ROOT))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "run a graph" in done.stdout
    assert time.monotonic() - started < 5, "far less, but machines may be busy"
