"""The shipped graphs are the pipelines that the models were trained for, and they run on the tiny model set."""

from __future__ import annotations

import io
import json

import av
import numpy as np
import pytest
from PIL import Image

SMALL = {"width": 128, "height": 128, "frames": 9, "frame_rate": 24.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Input and output folders."""
    folder = tmp_path_factory.mktemp("host")
    for name in ("input", "output"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def executor(headless, tiny_models, folder):
    """An executor on the tiny set, with a picture in the input folder; it keeps networks from test to test."""
    picture = np.indices((90, 160)).sum(axis=0).astype(np.uint8)
    Image.fromarray(picture).convert("RGB").save(folder / "input" / "example.png")
    with headless(tiny_models("2.3"), folder / "input", folder / "output", stream=io.StringIO()) as executor:
        yield executor


def small(graph, executor):
    """The graph with a clip and a schedule that take seconds."""
    infos = executor.infos()
    for name, value in SMALL.items():
        graph = graph.with_value("Canvas", name, value, infos)
    is_guided = any(node["class_type"] == "LTX2_Schedule" for node in graph.prompt.values())
    return graph.with_value("Stage 1 Schedule", "steps", 2, infos) if is_guided else graph


def test_the_twin_is_valid_on_a_whole_model_set(shipped, executor):
    assert len(executor.validate(shipped.api).outputs) == 1


def test_it_runs_and_saves_a_video_with_sound_and_its_own_graph(shipped, executor, folder):
    from comfyui_ltx2.nodes.host.graph.document import read_graph
    from comfyui_ltx2.nodes.host.headless.session import run_graph, saved_files

    graph = small(read_graph(shipped.file, executor.infos()), executor)
    (file,) = saved_files(run_graph(executor, graph), folder / "output")
    with av.open(str(file)) as clip:
        video, audio = clip.streams.video[0], clip.streams.audio[0]
        assert (video.width, video.height, video.frames) == (SMALL["width"], SMALL["height"], SMALL["frames"])
        assert abs(float(audio.duration * audio.time_base) - SMALL["frames"] / SMALL["frame_rate"]) <= 1024 / audio.rate
        tags = {name: json.loads(clip.metadata[name]) for name in ("prompt", "workflow")}
    assert tags == {"prompt": graph.prompt, "workflow": graph.workflow}


def test_the_command_line_finds_the_demo_by_its_words(shipped_by_name):
    from comfyui_ltx2.nodes.host.graph.packaged import find_workflow

    assert find_workflow("text to video distilled") == shipped_by_name("LTX-2 Text to Video Distilled").file


def test_every_graph_refines_at_full_size_what_it_made_at_half_size(shipped):
    first, second = (shipped.api[shipped.titled(f"Stage {stage} Sample")]["inputs"] for stage in "12")
    assert shipped.only("LTX2_EmptyLatents")["scale"] == "1/2"
    assert shipped.only("LTX2_UpsampleLatent")["video"] == [shipped.titled("Stage 1 Sample"), 0]
    assert second["audio"] == [shipped.titled("Stage 1 Sample"), 1]
    assert shipped.api[second["sigmas"][0]]["inputs"]["stage"] == "2"
    assert shipped.only("LTX2_DecodeVideo")["video"] == [shipped.titled("Stage 2 Sample"), 0]
    assert first["seed"] != second["seed"]


@pytest.mark.parametrize(
    "name,stage",
    [
        ("LTX-2 Text to Video", "1"),
        ("LTX-2 Text to Video Distilled", "2"),
        ("LTX-2 Image to Video Distilled", "2"),
    ],
)
def test_the_sound_is_that_of_the_stage_which_the_pipeline_takes(shipped_by_name, name, stage):
    graph = shipped_by_name(name)
    assert graph.only("LTX2_DecodeAudio")["audio"] == [graph.titled(f"Stage {stage} Sample"), 1]


def test_the_guided_graph_guides_stage_1_and_gives_stage_2_the_distilled_lora(shipped_by_name):
    graph = shipped_by_name("LTX-2 Text to Video")
    first, second = (graph.api[graph.titled(f"Stage {stage} Guider")]["inputs"] for stage in "12")
    scales = [graph.api[first[f"{kind}_guidance"][0]]["inputs"]["cfg"] for kind in ("video", "audio")]
    assert scales == [3.0, 7.0]
    assert first["transformer"] == [graph.titled("Checkpoint"), 0]
    assert first["negative"] == [graph.titled("Negative Prompt"), 0]
    assert second == {"transformer": [graph.titled("Distilled LoRA"), 0], "positive": first["positive"]}
    assert graph.only("LTX2_Lora")["strength"] == 1.0


def test_the_image_guides_both_stages_at_their_own_size(shipped_by_name):
    graph = shipped_by_name("LTX-2 Image to Video Distilled")
    assert graph.only("LTX2_ImageGuide")["frame"] == 0
    for stage, source in (("1", "Empty Latents"), ("2", "Upsample")):
        applied = graph.api[graph.titled(f"Stage {stage} Guides")]["inputs"]
        assert applied["video"] == [graph.titled(source), 0]
        assert applied["guides"] == [graph.titled("Image Guide"), 0]
        sample = graph.api[graph.titled(f"Stage {stage} Sample")]["inputs"]
        assert sample["video"] == [graph.titled(f"Stage {stage} Guides"), 0]
