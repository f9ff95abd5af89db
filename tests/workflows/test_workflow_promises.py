"""What each shipped graph promises beyond a file: what is kept stays to the last bit, what is given is used."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

FRAMES_BEFORE = 4  # latents of the 25 frames of the source


def samples(run, title: str, slot: int) -> torch.Tensor:
    return run.outputs[title][slot]["samples"]


@pytest.fixture
def run_of(shipped_by_name, run_small):
    """`run_of("Retake")` is a small run of that workflow."""
    return lambda name: run_small(shipped_by_name(f"LTX-2 {name}"))


@pytest.mark.parametrize("slot,encoded", [(0, "Encode Video"), (1, "Encode Audio")])
def test_retake_changes_its_range_and_nothing_else(run_of, slot, encoded):
    run = run_of("Retake")
    mask = run.outputs["Retake"][slot]["noise_mask"]
    before, after = samples(run, encoded, 0), samples(run, "Stage 1 Sample", slot)
    generated = mask.expand_as(before) > 0
    assert 0 < generated.sum() < generated.numel()
    assert torch.equal(after[~generated], before[~generated])
    assert not torch.isclose(after[generated], before[generated]).any(dim=-1).all()


def test_extend_keeps_the_source_and_adds_video_and_sound(run_of):
    run = run_of("Extend")
    video, sound = samples(run, "Stage 1 Sample", 0), samples(run, "Stage 1 Sample", 1)
    source, heard = samples(run, "Encode Video", 0), samples(run, "Encode Audio", 0)
    assert video.shape[2] == source.shape[2] + 1 == FRAMES_BEFORE + 1
    assert torch.equal(video[:, :, :FRAMES_BEFORE], source)
    assert torch.equal(sound[:, :, : heard.shape[2]], heard)
    assert sound.shape[2] == round(33 / 24 * 25)
    assert sound[:, :, heard.shape[2] :].std() > 0


def test_a_long_clip_keeps_everything_that_was_there_before_each_round(run_of):
    run = run_of("Long Clip")
    source, once, twice = samples(run, "Encode Video", 0), samples(run, "Join 1", 0), samples(run, "Join 2", 0)
    assert [clip.shape[2] for clip in (source, once, twice)] == [FRAMES_BEFORE, FRAMES_BEFORE + 1, FRAMES_BEFORE + 2]
    assert torch.equal(once[:, :, :FRAMES_BEFORE], source)
    assert torch.equal(twice[:, :, : FRAMES_BEFORE + 1], once)
    assert samples(run, "Join 2", 1).shape[2] == round(41 / 24 * 25)


def test_audio_to_video_keeps_the_sound_as_latent_and_as_waveform(run_of, input_folder):
    run = run_of("Audio to Video")
    encoded = samples(run, "Encode Audio", 0)
    for stage in (1, 2):
        assert torch.equal(samples(run, f"Stage {stage} Sample", 1), encoded)
    with av.open(str(run.file)) as clip:
        saved = np.concatenate([frame.to_ndarray() for frame in clip.decode(audio=0)], -1)[0]
    with av.open(str(input_folder / "example.wav")) as file:
        given = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], -1)[0, ::2] / 32768
    length = min(len(saved), round(9 / 24 * 24000)) - 1024
    assert np.corrcoef(saved[:length], given[:length])[0, 1] > 0.99


def test_text_to_audio_makes_no_video(run_of):
    run = run_of("Text to Audio")
    assert run.outputs["Stage 1 Sample"][0] is None
    with av.open(str(run.file)) as file:
        assert not file.streams.video


def test_the_enhanced_prompt_is_what_is_encoded(run_of):
    run = run_of("Prompt Enhancement")
    (text,) = run.outputs["Enhance"]
    assert text.strip()
    assert run.graph.prompt["3"]["class_type"] == "LTX2_EnhancePrompt"
    (prompt,) = (node for node in run.graph.prompt.values() if node["class_type"] == "LTX2_EncodePrompt")
    assert prompt["inputs"]["text"] == ["3", 0]


def test_guides_leave_no_tokens_behind(run_of):
    for name, frames in (("Dub", 25), ("Control Video", 9), ("First and Last Frame", 9), ("Keyframes", 9)):
        run = run_of(name)
        stage = 1 if name == "Dub" else 2
        latent = run.outputs[f"Stage {stage} Sample"][0]
        assert latent["samples"].shape[2:] == ((frames - 1) // 8 + 1, 4, 4)
        assert "noise_mask" not in latent
        assert latent["ltx2"].conditions == ()


@pytest.mark.parametrize(
    "name,title,change",
    [
        ("Control Video", "Control", {"strength": 0.0}),
        ("LoRA Stack", "Camera LoRA", {"strength": 0.0}),
        ("First and Last Frame", "Last Frame Guide", {"strength": 0.0}),
    ],
)
def test_what_is_given_changes_the_clip(run_of, shipped_by_name, executor_of, name, title, change):
    run, shipped = run_of(name), shipped_by_name(f"LTX-2 {name}")
    prompt = {id: {**node, "inputs": dict(node["inputs"])} for id, node in run.graph.prompt.items()}
    prompt[shipped.titled(title)]["inputs"].update(change)
    without = executor_of(shipped.release).run(prompt).values[shipped.titled("Stage 1 Sample")]
    assert not torch.allclose(without[0]["samples"], samples(run, "Stage 1 Sample", 0), atol=1e-4)
