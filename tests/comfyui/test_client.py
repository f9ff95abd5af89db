"""The pack's client against a real ComfyUI: runs, events, uploads, refusals, failures, cancelling and batches."""

from __future__ import annotations

import asyncio
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
    events = []
    source = ROOT / "workflows" / f"{DISTILLED}.json"
    changes = {**SMALL, "Prompt.text": "a red boat"}
    (path,) = module.run(source, changes, server=client, output=tmp_path, progress=events.append)
    made = Probe.of(path)
    assert made.video is not None
    assert made.video[:2] == (128, 128)
    assert "a red boat" in str(made.tags["workflow"])
    assert isinstance(events[-1], module.Finished)
    assert module.Status("running") in events
    started = [event.title for event in events if isinstance(event, module.NodeStarted)]
    assert "Canvas" in started
    assert len(started) == len(set(started))
    progress = [event for event in events if isinstance(event, module.NodeProgress)]
    assert {event.title for event in progress} <= set(started)
    assert any(event.value == event.maximum > 1 for event in progress)
    (saved,) = [event for event in events if isinstance(event, module.NodeExecuted) and "images" in event.output]
    assert saved.output["images"][0]["filename"] == path.name


def test_previews_arrive_with_their_node(module, start_server, small_prompt):
    client = module.Client(f"http://127.0.0.1:{start_server('--preview-method', 'latent2rgb').port}")
    events = list(client.events(client.queue(small_prompt(GUIDED)), limit=180))
    previews = [event for event in events if isinstance(event, module.Preview)]
    assert previews
    assert {event.title for event in previews} <= {event.title for event in events if hasattr(event, "value")}
    assert all(event.image.startswith(b"\xff\xd8") == (event.mime == "image/jpeg") for event in previews)


def test_what_was_computed_before_is_told_as_cached(module, client, small_prompt):
    for text in ("one", "two"):
        prompt = small_prompt(DISTILLED, prefix=text)
        events = list(client.events(client.queue(prompt), limit=180))
    cached = {event.node_id for event in events if isinstance(event, module.NodeCached)}
    started = {event.node_id for event in events if isinstance(event, module.NodeStarted)}
    assert len(cached) > 5
    assert not cached & started


def test_asyncio_runs_several_at_once(module, server, small_prompt, tmp_path):
    async def main():
        client = module.AsyncClient(f"http://127.0.0.1:{server.port}")
        graphs = [await client.prepare(small_prompt(DISTILLED, prefix=f"at_once_{each}")) for each in range(3)]
        return await asyncio.gather(*(client.run(graph, tmp_path) for graph in graphs))

    files = asyncio.run(main())
    assert [path.name[:9] for (path,) in files] == ["at_once_0", "at_once_1", "at_once_2"]
    assert all(Probe.of(path).video is not None for (path,) in files)


def test_a_batch_runs_and_resumes(module, server, small_prompt, tmp_path):
    rows = [{"Canvas.frames": 9, "Prompt.text": f"boat {each}"} for each in range(3)]
    rows.append({"Canvas.frames": 100})
    options = {"server": f"http://127.0.0.1:{server.port}", "output": tmp_path, "in_flight": 2}
    graph = small_prompt(DISTILLED, prefix="batch")
    results = module.batch(graph, rows, **options)
    assert [result.status for result in results] == ["done", "done", "done", "failed"]
    assert "frames must be 8n + 1; got 100" in results[3].error
    assert all(Probe.of(tmp_path / result.outputs[0]).video is not None for result in results[:3])
    assert module.batch(graph, rows[:3], **options) == results[:3]
    assert len(list(server.output.glob("batch*"))) == 3


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
