"""The headless stand-in against a running ComfyUI: what it says of nodes and of wrong graphs, and what comes out."""

from __future__ import annotations

import importlib
import io
import json
import urllib.error
from typing import Any

import pytest
import torch

#: A graph that both take: latents of a canvas, made longer and saved.
GOOD: dict[str, dict[str, Any]] = {
    "canvas": {"class_type": "LTX2_Canvas", "inputs": {"width": 128, "height": 128, "frames": 9, "frame_rate": 24.0}},
    "empty": {"class_type": "LTX2_EmptyLatents", "inputs": {"canvas": ["canvas", 0], "scale": "1"}},
    "longer": {
        "class_type": "LTX2_Extend",
        "inputs": {"video": ["empty", 0], "audio": ["empty", 1], "seconds": 1.0, "direction": "after"},
    },
    "save": {
        "class_type": "LTX2_SaveLatents",
        "inputs": {"video": ["longer", 0], "audio": ["longer", 1], "filename_prefix": "contract/clip"},
    },
}


def good() -> dict[str, dict[str, Any]]:
    return json.loads(json.dumps(GOOD))


def changed(node_id: str, **inputs: Any) -> dict[str, Any]:
    """The good graph with these inputs of one node."""
    graph = good()
    graph[node_id]["inputs"] |= inputs
    return graph


def without(node_id: str, name: str) -> dict[str, Any]:
    graph = good()
    del graph[node_id]["inputs"][name]
    return graph


def added(class_type: str, **inputs: Any) -> dict[str, Any]:
    return good() | {"more": {"class_type": class_type, "inputs": inputs}}


WRONG = {
    "below the range": changed("longer", seconds=-1.0),
    "above the range": changed("longer", seconds=1e6),
    "no number": changed("longer", seconds="long"),
    "not in the list": changed("longer", direction="sideways"),
    "two wrong values": changed("longer", direction="sideways", seconds=1000.0),
    "two wrong nodes": changed("longer", seconds=1000.0) | {"empty": changed("empty", scale="3")["empty"]},
    "a rule of the node": changed("canvas", frames=100),
    "a value is missing": without("longer", "seconds"),
    "a link is missing": without("empty", "canvas"),
    "a link of another type": changed("save", video=["canvas", 0]),
    "a link that is none": changed("empty", canvas=["canvas"]),
    "a node that is not there": changed("empty", canvas=["nobody", 0]),
    "a slot that is not there": changed("empty", canvas=["canvas", 7]),
    "a circle": changed("longer", video=["again", 0])
    | {"again": {**GOOD["longer"], "inputs": {**GOOD["longer"]["inputs"], "video": ["longer", 0]}}},
    "a class that is not there": added("LTX2_NoSuchNode"),
    "nothing that saves": {"canvas": GOOD["canvas"]},
    "nothing": {},
}


@pytest.fixture(scope="module")
def executor(models, server, tmp_path_factory):
    """The headless host with the tiny set and the server's input folder."""
    session = importlib.import_module("comfyui_ltx2.nodes.host.headless.session").session
    tmp = tmp_path_factory.mktemp("contract")
    folders = (models, server.base / "input", tmp / "output")
    with session(*folders, device="cpu", temp=tmp / "temp", stream=io.StringIO()) as made:
        yield made


def refusal(server, prompt: dict[str, Any]) -> dict[str, Any]:
    """What the server answers to a wrong graph."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue(prompt)
    assert refused.value.code == 400
    return json.loads(refused.value.read())


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what the two say on purpose in different words.

    Python's own words for an exception are left out, and so is at which end of a broken link it was raised. ComfyUI
    repeats the answer of a node's own check at every input that the check takes; the stand-in says it once.
    """
    for node in report["node_errors"].values():
        node["errors"] = [plain(error) for error in node["errors"] if is_where_it_belongs(error)]
    return report


def is_where_it_belongs(error: dict[str, Any]) -> bool:
    name, _, text = error["details"].partition(" - ")
    return error["type"] != "custom_validation_failed" or text.startswith(name)


def plain(error: dict[str, Any]) -> dict[str, Any]:
    if error["type"] in ("exception_during_validation", "exception_during_inner_validation"):
        assert isinstance(error["extra_info"]["traceback"], list)
        return {"type": "exception", "exception_type": error["extra_info"]["exception_type"]}
    words = error["extra_info"].pop("exception_message", "")
    return {**error, "details": error["details"].removesuffix(words)}


def as_0_8_says_it(report: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI 0.8 has other words for a class that is missing, and shows no circle at the nodes."""
    error, nodes = report["error"], report["node_errors"]
    if error["type"] == "missing_node_type":
        message = f"Cannot execute because node {error['extra_info']['class_type']} does not exist."
        error = {**error, "type": "invalid_prompt", "message": message, "extra_info": {}}
    is_circle = any(each["type"] == "dependency_cycle" for node in nodes.values() for each in node["errors"])
    return {"error": error, "node_errors": {} if is_circle else nodes}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_graphs_are_refused_in_comfyuis_words(server, executor, what):
    problems = importlib.import_module("comfyui_ltx2.nodes.host.graph.problems")
    with pytest.raises(problems.GraphError) as refused:
        executor.validate(WRONG[what])
    ours, real = json.loads(json.dumps(refused.value.report)), refusal(server, WRONG[what])
    if server.get("/system_stats")["system"]["comfyui_version"].startswith("0.8."):
        ours = as_0_8_says_it(ours)
    assert comparable(ours) == comparable(real)


def test_the_good_graph_is_good_on_both(server, executor):
    """Else the wrong ones might be refused for another reason. Both tell the browser of the same file."""
    ui = json.loads(json.dumps(executor.run(GOOD).ui))
    assert ui == server.finished(server.queue(GOOD))["outputs"]
    assert ui["save"]["files"] == [
        {"filename": "clip_00001_.latents.safetensors", "subfolder": "contract", "type": "output"}
    ]


@pytest.mark.parametrize("name", ["LTX-2 Dub", "LTX-2 Text to Audio"])
def test_shipped_graphs_tell_the_browser_of_the_same_files(server, executor, small_prompt, name):
    prompt = small_prompt(name, prefix=f"contract/{name}")
    ours = json.loads(json.dumps(executor.run(prompt).ui))
    real = server.finished(server.queue(prompt))["outputs"]
    assert ours.keys() <= real.keys()  # which holds what other nodes than those that save tell as well
    for node_id, told in ours.items():
        for files in (*told.values(), *real[node_id].values()):
            for file in files:
                if isinstance(file, dict):  # ComfyUI's Save Audio writes "_" behind the number, or not
                    file["filename"] = file["filename"].replace("_.", ".")
        assert told == real[node_id]


def shown_only(info: dict[str, Any]) -> dict[str, Any]:
    """A node's entry in /object_info without which files there are and under which name the pack was loaded."""
    inputs = {
        group: {
            name: [
                kind,
                *({k: v for k, v in each.items() if k != "options" or not is_file_list(each)} for each in rest),
            ]
            for name, (kind, *rest) in entries.items()
        }
        for group, entries in info["input"].items()
        if group != "hidden"
    }
    return {**{key: value for key, value in info.items() if key != "python_module"}, "input": inputs}


def is_file_list(options: dict[str, Any]) -> bool:
    return any(words in options["tooltip"] for words in ("Put it into models", "in the output folder"))


def test_object_info_is_the_servers(server, executor):
    """Of every node of the pack; fields that a version does not know are missing there."""
    real = server.get("/object_info")
    ours = {name: cls for name, cls in executor.classes.items() if name.startswith("LTX2_")}
    for name, cls in ours.items():
        info, expected = shown_only(json.loads(json.dumps(cls.GET_NODE_INFO_V1()))), shown_only(real[name])
        assert {"input", "input_order", "output", "output_name", "output_tooltips", "description"} <= set(expected)
        assert {key: info[key] for key in expected} == expected
    assert len(ours) >= 20


FROM_FILES = """
    import nodes, comfy_extras.nodes_audio as sounds, comfy_extras.nodes_video as videos
    folder_paths.set_input_directory(INPUTS)
    (video,) = videos.LoadVideo.execute("example.mp4").result
    results = {
        "LoadImage": nodes.LoadImage().load_image("example.png"),
        "LoadAudio": sounds.LoadAudio.execute("example.wav").result,
        "GetVideoComponents": videos.GetVideoComponents.execute(video).result,
    }
    def described(value):
        if isinstance(value, dict):
            return {name: described(item) for name, item in sorted(value.items())}
        if isinstance(value, torch.Tensor):
            return [str(value.dtype), list(value.shape), value.double().mean().item()]
        return value
    answer = {name: [described(each) for each in values] for name, values in results.items()}
"""


def test_comfyuis_nodes_for_files_give_the_same_values(server, executor, in_comfyui):
    real = in_comfyui(FROM_FILES.replace("INPUTS", repr(str(server.base / "input"))))
    ours = {name: executor.classes[name] for name in real}
    video = executor.classes["LoadVideo"].execute("example.mp4").args[0]
    given = {"LoadImage": "example.png", "LoadAudio": "example.wav", "GetVideoComponents": video}
    for name, cls in ours.items():
        values = cls.execute(given[name]).args[: len(real[name])]  # ComfyUI 0.8 has fewer outputs
        assert [described(value) for value in values] == real[name], name


def described(value: Any) -> Any:
    """Shape, type and mean of tensors, as in the child process."""
    if isinstance(value, dict):
        return {name: described(item) for name, item in sorted(value.items())}
    if isinstance(value, torch.Tensor):
        mean = pytest.approx(value.double().mean().item(), abs=1e-4)  # ComfyUI 0.8 rounds frames to 8 bits
        return [str(value.dtype), list(value.shape), mean]
    return value
