"""The pack in a real ComfyUI: its nodes are there, its workflows run, and cancelling leaves nothing behind."""

from __future__ import annotations

import json
import time
import urllib.error
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from small_graphs import Probe

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


@dataclass(frozen=True)
class Shipped:
    """A shipped workflow that ran: what was sent, what came back, and what the server printed meanwhile."""

    name: str
    prompt: dict
    workflow: dict
    ran: Any
    log: str


@pytest.fixture(scope="module", params=WORKFLOWS)
def shipped(request, server, small_prompt):
    """Each shipped workflow, run once at a small size."""
    prompt = small_prompt(request.param, prefix="shipped/clip")
    workflow = json.loads((ROOT / "workflows" / f"{request.param}.json").read_text(encoding="utf-8"))
    start = len(server.log())
    ran = server.run(prompt, workflow)
    return Shipped(request.param, prompt, workflow, ran, server.log()[start:])


def without_changes(prompt: dict) -> dict:
    """A prompt as it was sent: ComfyUI notes in it what its cache goes by, and its own Save Audio writes that."""
    return {id: {key: value for key, value in node.items() if key != "is_changed"} for id, node in prompt.items()}


def test_shipped_workflows_save_what_they_promise(server, shipped):
    (file,) = shipped.ran.files
    assert file.parent == server.output / "shipped"
    made = Probe.of(file)
    made.check(shipped.name)
    assert file.suffix == (".mp4" if made.video else ".flac")
    tags = made.tags if made.video else {**made.tags, "prompt": without_changes(made.tags["prompt"])}
    assert tags == {"prompt": shipped.prompt, "workflow": shipped.workflow}  # as sent, so that it can be sent again
    assert "Traceback" not in shipped.log


def test_a_graph_that_is_sent_again_computes_nothing(server, quiet, shipped):
    again = server.run(shipped.prompt, shipped.workflow)
    # ComfyUI 0.8 tells nothing of outputs that it takes from its cache.
    told = shipped.ran.files if again.files else []
    assert again == replace(shipped.ran, kept=set(shipped.prompt), files=told)


def test_another_strength_of_a_lora_loads_no_network(server, quiet, small_prompt):
    name, loads = "LTX-2 LoRA Stack", []
    for strength in (1.0, 0.5, 0.0):
        ran = server.run(small_prompt(name, changes={("Camera LoRA", "strength"): strength}))
        loads.append(server.log().count("loading <LTX-2"))
        assert "1" in ran.kept or strength == 1.0
    assert loads[0] == loads[1] == loads[2]


def test_another_prompt_reloads_no_transformer(server, quiet, small_prompt):
    prompt = small_prompt(DISTILLED)
    server.run(prompt)
    before = server.log().count("loading <LTX-2 transformer")
    nodes_of(prompt, "LTX2_EncodePrompt")[0]["inputs"]["text"] = "a red boat on a green lake"
    server.run(prompt)
    assert server.log().count("loading <LTX-2 transformer") == before


def test_interrupting_a_run_takes_a_step_and_the_next_run_succeeds(server, quiet, small_prompt):
    prompt = small_prompt(GUIDED, changes={("Stage 1 Schedule", "steps"): 1000})
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
    (file,) = server.run(small_prompt(DISTILLED, prefix="after")).files
    assert file.stat().st_size > 1000


def test_a_wrong_canvas_is_refused_with_the_rule(server, quiet, small_prompt):
    prompt = small_prompt(DISTILLED)
    nodes_of(prompt, "LTX2_Canvas")[0]["inputs"]["frames"] = 100
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue(prompt)
    answer = json.loads(refused.value.read())
    details = [error["details"] for node in answer["node_errors"].values() for error in node["errors"]]
    assert any("100" in each and "97" in each for each in details), details


def test_a_constant_on_a_socket_is_answered_with_the_cure(server, small_prompt):
    prompt = small_prompt(DISTILLED)
    nodes_of(prompt, "LTX2_EncodePrompt")[0]["inputs"]["text_encoder"] = 5
    messages = dict(server.finished(server.queue(prompt))["status"]["messages"])
    assert messages["execution_error"]["exception_type"] == "ltx2.LTX2Error"
    assert "text_encoder must come from an LTX-2 loader; got int" in messages["execution_error"]["exception_message"]


@pytest.mark.parametrize("flags", [("--cache-classic",), ("--cache-lru", "2"), ("--cache-none",)])
def test_networks_go_with_the_last_recipe_in_every_cache(start_server, small_prompt, flags):
    server = start_server(*flags)
    server.run(small_prompt(DISTILLED))

    def are_freed() -> bool:
        # Asked again and again: what comes while ComfyUI collects garbage waits for the next prompt.
        server.post("/free", {"unload_models": True, "free_memory": True})
        log = server.log()
        return log.count("freeing <LTX-2") == log.count("loading <LTX-2") > 0

    server.wait("every network is freed", are_freed, 20)
    server.run(small_prompt(DISTILLED))  # and can be had again
    assert "Traceback" not in server.log()
