"""The pack in a real ComfyUI: its nodes are there, its workflows run, and cancelling leaves nothing behind."""

from __future__ import annotations

import json
import time
import urllib.error
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
DISTILLED = "LTX-2 Text to Video Distilled"
GUIDED = "LTX-2 Text to Video"


@pytest.fixture
def quiet(server):
    """The test leaves no traceback in the log."""
    start = len(server.log())
    yield
    assert "Traceback" not in server.log()[start:]


def nodes_of(prompt: dict, class_type: str) -> list[dict]:
    return [node for node in prompt.values() if node["class_type"] == class_type]


def test_every_node_is_registered(server):
    expected = json.loads((ROOT / "tests" / "nodes" / "public_interface.json").read_text())
    infos = server.get("/object_info")
    ours = {name: info for name, info in infos.items() if name.startswith("LTX2_")}
    assert set(ours) == set(expected)
    assert len(ours) >= 20
    for name, info in ours.items():
        assert info["python_module"] == "custom_nodes.comfyui-ltx2 1.0", name
        assert info["description"], name
        assert info["category"].startswith("LTX-2/"), name


def test_combos_list_the_tiny_models(server, models):
    inputs = server.get("/object_info/LTX2_LoadTextEncoder")["LTX2_LoadTextEncoder"]["input"]["required"]
    (gemma,) = (folder.name for folder in (models / "text_encoders").iterdir())
    assert gemma in inputs["text_encoder"][1]["options"]
    assert {file.name for file in (models / "checkpoints").iterdir()} <= set(inputs["checkpoint"][1]["options"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_shipped_workflows_run(server, quiet, tiny_prompt, name):
    prompt = tiny_prompt(name, prefix="shipped/clip")
    workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    (file,) = server.run(prompt, workflow)
    assert file.parent == server.output / "shipped"
    with av.open(file) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        frames = sum(1 for _ in container.decode(video=0))
        assert (video.width, video.height, frames) == (384, 256, 25)
        assert abs(float(audio.duration * audio.time_base) - 25 / 24) <= 1024 / audio.rate
        assert json.loads(container.metadata["prompt"]) == prompt  # as it was sent, so that it can be sent again
        assert json.loads(container.metadata["workflow"]) == workflow


def test_another_prompt_reloads_no_transformer(server, quiet, tiny_prompt):
    prompt = tiny_prompt(DISTILLED)
    server.run(prompt)
    before = server.log().count("loading <LTX-2 transformer")
    nodes_of(prompt, "LTX2_EncodePrompt")[0]["inputs"]["text"] = "a red boat on a green lake"
    server.run(prompt)
    assert server.log().count("loading <LTX-2 transformer") == before


def test_interrupting_a_run_takes_a_step_and_the_next_run_succeeds(server, quiet, tiny_prompt):
    prompt = tiny_prompt(GUIDED, steps=1000)
    seed = nodes_of(prompt, "LTX2_Sample")[0]["inputs"]
    seed["seed"] = 4321
    known = server.log().count("Requested to load Transformer") + server.log().count("loading <LTX-2 transformer")
    prompt_id = server.queue(prompt)

    def is_sampling() -> bool:
        log = server.log()
        return log.count("Requested to load Transformer") + log.count("loading <LTX-2 transformer") > known

    server.wait("the transformer is loaded", is_sampling, 60)
    time.sleep(1)
    started = time.monotonic()
    server.post("/interrupt", {})
    status = server.finished(prompt_id)["status"]
    assert time.monotonic() - started < 10
    assert [name for name, _ in status["messages"]][-1] == "execution_interrupted"
    assert status["status_str"] == "error"
    (file,) = server.run(tiny_prompt(DISTILLED, prefix="after"))
    assert file.stat().st_size > 1000


def test_a_wrong_canvas_is_refused_with_the_rule(server, quiet, tiny_prompt):
    prompt = tiny_prompt(DISTILLED)
    nodes_of(prompt, "LTX2_Canvas")[0]["inputs"]["frames"] = 100
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue(prompt)
    answer = json.loads(refused.value.read())
    details = [error["details"] for node in answer["node_errors"].values() for error in node["errors"]]
    assert any("100" in each and "97" in each for each in details), details


def test_a_constant_on_a_socket_is_answered_with_the_cure(server, tiny_prompt):
    prompt = tiny_prompt(DISTILLED)
    nodes_of(prompt, "LTX2_EncodePrompt")[0]["inputs"]["text_encoder"] = 5
    messages = dict(server.finished(server.queue(prompt))["status"]["messages"])
    assert messages["execution_error"]["exception_type"] == "ltx2.LTX2Error"
    assert "text_encoder must come from an LTX-2 loader; got int" in messages["execution_error"]["exception_message"]


@pytest.mark.parametrize("flags", [("--cache-classic",), ("--cache-lru", "2"), ("--cache-none",)])
def test_networks_go_with_the_last_recipe_in_every_cache(start_server, tiny_prompt, flags):
    server = start_server(*flags)
    server.run(tiny_prompt(DISTILLED))

    def are_freed() -> bool:
        # Asked again and again: what comes while ComfyUI collects garbage waits for the next prompt.
        server.post("/free", {"unload_models": True, "free_memory": True})
        log = server.log()
        return log.count("freeing <LTX-2") == log.count("loading <LTX-2") > 0

    server.wait("every network is freed", are_freed, 20)
    server.run(tiny_prompt(DISTILLED))  # and can be had again
    assert "Traceback" not in server.log()
