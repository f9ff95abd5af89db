"""The pack's client against a real ComfyUI: runs, uploads, refusals, failures and cancelling."""

from __future__ import annotations

import importlib
import uuid
from pathlib import Path

import pytest
from small_graphs import Probe

ROOT = Path(__file__).resolve().parents[2]
DISTILLED, GUIDED = "LTX-2 Text to Video Distilled", "LTX-2 Text to Video"
SMALL = {"Canvas.width": 128, "Canvas.height": 128, "Canvas.frames": 9}


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("comfyui_ltx2.client")


@pytest.fixture
def client(module, server):
    return module.Client(f"http://127.0.0.1:{server.port}")


def test_a_ui_workflow_runs_and_its_video_arrives(module, server, client, tmp_path):
    states = []
    source = ROOT / "workflows" / f"{DISTILLED}.json"
    changes = {**SMALL, "Prompt.text": "a red boat"}
    (path,) = module.run(
        source, changes, server=client, output=tmp_path, progress=lambda each: states.append(each.state)
    )
    made = Probe.of(path)
    assert made.video is not None
    assert made.video[:2] == (128, 128)
    assert "a red boat" in str(made.tags["workflow"])
    assert states[-1] == "ended"
    assert "running" in states


def test_a_known_id_is_queued_once(client, server, small_prompt):
    prompt_id = str(uuid.uuid4())
    prompt = small_prompt(DISTILLED, prefix="once")
    assert client.queue(prompt, prompt_id=prompt_id) == client.queue(prompt, prompt_id=prompt_id) == prompt_id
    (file,) = client.wait(prompt_id, limit=180)
    assert client.queue(prompt, prompt_id=prompt_id) == prompt_id
    assert client.status(prompt_id).state == "ended"
    assert [path.name for path in server.output.glob("once*")] == [file.name]


def test_uploads_take_the_name_that_the_server_gives(client, server, tmp_path):
    file = tmp_path / 'a "small" b\u00fccherwurm.png'
    file.write_bytes(b"\x89PNG\r\n one")
    assert client.upload(file, "sub") == f"sub/{file.name}"
    file.write_bytes(b"\x89PNG\r\n two")
    assert client.upload(file, "sub") == f"sub/{file.stem} (1).png"
    assert (server.base / "input" / "sub" / file.name).read_bytes() == b"\x89PNG\r\n one"


def test_a_refused_canvas_is_told_with_node_input_and_rule(module, client, small_prompt):
    prompt = small_prompt(DISTILLED, changes={("Canvas", "frames"): 100})
    rule = (
        r"^Canvas \(node \d+, LTX2_Canvas\): inputs .*'frames'.*: frames must be 8n \+ 1; got 100 \(nearest: 97, 105\)$"
    )
    with pytest.raises(module.LTX2Error, match=rule):
        client.queue(prompt)


def test_a_failed_node_is_told(module, client, small_prompt):
    prompt = small_prompt(DISTILLED)
    next(node for node in prompt.values() if node["class_type"] == "LTX2_EncodePrompt")["inputs"]["text_encoder"] = 5
    with pytest.raises(module.RunError, match=r"\(node \d+, LTX2_EncodePrompt\): text_encoder must come from"):
        client.wait(client.queue(prompt), limit=180)


def test_a_running_and_a_pending_graph_are_cancelled(module, client, small_prompt):
    long = small_prompt(GUIDED, changes={("Stage 1 Schedule", "steps"): 1000})
    running, pending = client.queue(long), client.queue(small_prompt(GUIDED, prefix="pending"))

    while client.status(running).state != "running":
        assert client.status(running).state == "pending"
    assert client.cancel(pending)
    assert client.cancel(running)  # maybe before its first node
    with pytest.raises(module.RunError, match="the graph was cancelled in"):
        client.wait(running, limit=60)
    assert client.status(pending).state == "unknown"
