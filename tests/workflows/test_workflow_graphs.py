"""The shipped graphs run on the tiny model set and make what they promise."""

from __future__ import annotations

import pytest
from small_graphs import Probe


def test_the_twin_is_valid_on_a_whole_model_set(shipped, executor_of):
    assert len(executor_of(shipped.release).validate(shipped.api).outputs) == 1


def test_it_runs_and_saves_what_it_promises_with_its_own_graph(shipped, run_small):
    run = run_small(shipped)
    made = Probe.of(run.file)
    made.check(shipped.file.stem)
    assert run.file.suffix == (".mp4" if made.video else ".flac")
    assert made.tags == {"prompt": run.graph.prompt, "workflow": run.graph.workflow}


def test_the_command_line_finds_the_demo_by_its_words(shipped_by_name):
    from comfyui_ltx2.nodes.host.graph.packaged import find_workflow

    assert find_workflow("text to video distilled") == shipped_by_name("LTX-2 Text to Video Distilled").file


TWO_STAGES = [
    "LTX-2 Audio to Video",
    "LTX-2 Control Video",
    "LTX-2 First and Last Frame",
    "LTX-2 Image to Video Distilled",
    "LTX-2 Keyframes",
    "LTX-2 LoRA Stack",
    "LTX-2 Prompt Enhancement",
    "LTX-2 Text to Video",
    "LTX-2 Text to Video Distilled",
    "LTX-2 Text to Video HQ",
]


@pytest.mark.parametrize("name", TWO_STAGES)
def test_two_stages_refine_at_full_size_what_was_made_at_half_size(shipped_by_name, name):
    shipped = shipped_by_name(name)
    first, second = (shipped.titled(f"Stage {stage} Sample") for stage in "12")
    assert shipped.only("LTX2_EmptyLatents")["scale"] == "1/2"
    assert shipped.only("LTX2_UpsampleLatent")["video"] == [first, 0]
    inputs = shipped.api[second]["inputs"]
    assert shipped.api[inputs["sigmas"][0]]["inputs"]["stage"] == "2"
    assert shipped.only("LTX2_DecodeVideo")["video"] == [second, 0]
    assert shipped.api[first]["inputs"]["seed"] != inputs["seed"]
    sound = shipped.api[first]["inputs"]["audio"] if name == "LTX-2 Audio to Video" else [first, 1]
    assert inputs["audio"] == sound


@pytest.mark.parametrize(
    "name,stage",
    [
        ("LTX-2 Text to Video", "1"),
        ("LTX-2 Text to Video HQ", "1"),
        ("LTX-2 Text to Video Distilled", "2"),
        ("LTX-2 Image to Video Distilled", "2"),
        ("LTX-2 Control Video", "2"),
        ("LTX-2 Keyframes", "2"),
    ],
)
def test_the_sound_is_that_of_the_stage_which_the_pipeline_takes(shipped_by_name, name, stage):
    graph = shipped_by_name(name)
    assert graph.only("LTX2_DecodeAudio")["audio"] == [graph.titled(f"Stage {stage} Sample"), 1]


@pytest.mark.parametrize(
    "name,preset,strengths",
    [("LTX-2 Text to Video", "LTX-2 dev", (None, 1.0)), ("LTX-2 Text to Video HQ", "HQ (res_2s)", (0.25, 0.5))],
)
def test_guided_graphs_guide_stage_1_and_give_stage_2_the_distilled_lora(shipped_by_name, name, preset, strengths):
    graph = shipped_by_name(name)
    guiders = [graph.api[graph.titled(f"Stage {stage} Guider")]["inputs"] for stage in "12"]
    assert graph.only("LTX2_GuidancePreset") == {"preset": preset}
    assert guiders[0]["negative"] == [graph.titled("Negative Prompt"), 0]
    for modality, slot in (("video", 0), ("audio", 1)):
        assert guiders[0][f"{modality}_guidance"] == [graph.titled("Guidance"), slot]
    assert not {"negative", "video_guidance", "audio_guidance"} & set(guiders[1])
    for guider, strength in zip(guiders, strengths, strict=True):
        source = graph.api[guider["transformer"][0]]
        assert source["class_type"] == ("LTX2_LoadCheckpoint" if strength is None else "LTX2_Lora")
        assert source["inputs"].get("strength") == strength


@pytest.mark.parametrize(
    "name,last",
    [
        ("LTX-2 Image to Video Distilled", "Image Guide"),
        ("LTX-2 First and Last Frame", "Last Frame Guide"),
        ("LTX-2 Keyframes", "Keyframe 3"),
    ],
)
def test_the_images_guide_both_stages_at_their_own_size(shipped_by_name, name, last):
    graph = shipped_by_name(name)
    for stage, source in (("1", "Empty Latents"), ("2", "Upsample")):
        applied = graph.api[graph.titled(f"Stage {stage} Guides")]["inputs"]
        assert applied["video"] == [graph.titled(source), 0]
        assert applied["guides"] == [graph.titled(last), 0]
        sample = graph.api[graph.titled(f"Stage {stage} Sample")]["inputs"]
        assert sample["video"] == [graph.titled(f"Stage {stage} Guides"), 0]


def test_keyframes_are_appended_the_first_one_too(shipped_by_name):
    graph = shipped_by_name("LTX-2 Keyframes")
    guides = [graph.api[graph.titled(f"Keyframe {number}")]["inputs"] for number in (1, 2, 3)]
    assert [guide["frame"] for guide in guides] == [0, 56, -1]
    assert all(guide["append"] for guide in guides)
