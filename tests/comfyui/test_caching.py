"""What a real ComfyUI computes again: what is behind a file whose content has changed under its name, nothing else."""

from __future__ import annotations

import json
import urllib.error

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ltx2.geometry import Canvas
from ltx2.latents import empty
from ltx2.storage import load_latents, save_latents

MAX_SEED = 2**53 - 1
NAMES = {"lora": "changing.safetensors", "picture": "changing.png", "latents": "changing.latents.safetensors"}
#: {the node whose file changes: the nodes behind it}
BEHIND = {
    "lora": {"guider", "sample", "save"},
    "picture": {"guide", "guides", "sample", "save"},
    "latents": {"guides", "sample", "save"},
}


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture
def graph(models):
    """A LoRA, a guide and latents of a file meet in a sampler that starts between noise and the latents."""
    checkpoint = next(file.name for file in (models / "checkpoints").iterdir() if "dev" in file.name)
    (gemma,) = (folder.name for folder in (models / "text_encoders").iterdir())
    guide = {"image": ["picture", 0], "frame": 0, "strength": 0.7, "crf": 0, "append": False}
    start = {"video": ["guides", 0], "audio": ["latents", 1], "solver": "euler", "seed": MAX_SEED}
    return {
        "models": node("LTX2_LoadCheckpoint", checkpoint=checkpoint, text_encoder=gemma),
        "lora": node("LTX2_Lora", transformer=["models", 0], lora=NAMES["lora"], strength=1.0),
        "prompt": node("LTX2_EncodePrompt", text_encoder=["models", 1], text="a boat", cache=False),
        "picture": node("LoadImage", image=NAMES["picture"]),
        "guide": node("LTX2_ImageGuide", **guide),
        "latents": node("LTX2_LoadLatents", file=NAMES["latents"]),
        "guides": node("LTX2_ApplyGuides", guides=["guide", 0], video=["latents", 0], video_vae=["models", 2]),
        "guider": node("LTX2_Guider", transformer=["lora", 0], positive=["prompt", 0], passes_per_forward=0),
        "sigmas": node("LTX2_ManualSchedule", text="0.8, 0.4, 0"),
        "sample": node("LTX2_Sample", guider=["guider", 0], sigmas=["sigmas", 0], **start),
        "save": node("LTX2_SaveLatents", video=["sample", 0], audio=["sample", 1], filename_prefix="caching/clip"),
    }


@pytest.fixture
def write(server, models):
    """`write(what, 1)` gives that node's file its content of that number."""
    loras = server.base / "models" / "loras"
    loras.mkdir(parents=True, exist_ok=True)
    weights = load_file(next(file for file in (models / "loras").iterdir() if "distilled" in file.name))
    video, audio = empty(Canvas(64, 64, 9, 24.0), 1)

    def lora(number):
        new = loras / "new"
        save_file({key: tensor * (1 + number) for key, tensor in weights.items()}, new)
        new.replace(loras / NAMES["lora"])  # a file that is mapped must not be cut short

    def picture(number):
        Image.new("RGB", (64, 64), (0, 200 * number, 100)).save(server.base / "input" / NAMES["picture"])

    def latents(number):
        samples = torch.full_like(video["samples"], float(number))
        save_latents(server.base / "input" / NAMES["latents"], {**video, "samples": samples}, audio)

    writers = {"lora": lora, "picture": picture, "latents": latents}
    return lambda what, number: writers[what](number)


@pytest.fixture
def run(server, graph):
    """Sends the graph; returns the nodes that ran and the samples of the newest saved file."""

    def do():
        kept = server.run(graph).kept
        *_, newest = sorted((server.output / "caching").glob("clip_*"))
        return set(graph) - kept, [latent["samples"] for latent in load_latents(newest)]

    return do


def test_a_file_that_changes_under_its_name_runs_what_is_behind_it_and_nothing_else(graph, write, run):
    for what in NAMES:
        write(what, 0)
    ran, first = run()
    assert ran == set(graph)
    before = first
    for what, behind in BEHIND.items():
        assert run()[0] == set()
        write(what, 1)
        ran, after = run()
        assert ran == {what} | behind
        assert not torch.equal(after[0], before[0])
        before = after
    for what in NAMES:
        write(what, 0)
    ran, again = run()
    assert ran == set(BEHIND).union(*BEHIND.values())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_larger_seed_than_the_browser_can_count_to_is_refused(server, graph, write):
    for what in NAMES:
        write(what, 0)
    graph["sample"]["inputs"]["seed"] = MAX_SEED + 1
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue(graph)
    (error,) = json.loads(refused.value.read())["node_errors"]["sample"]["errors"]
    assert error["type"] == "value_bigger_than_max"
    assert str(MAX_SEED) in error["message"] + error["details"]
    assert "seed" in error["details"]
