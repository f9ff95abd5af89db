"""Whole graphs on the tiny set in which one modality is given or left out, up to the file."""

from __future__ import annotations

import math

import pytest
import torch

RATE = 48000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("modalities")


@pytest.fixture(scope="module")
def executor(pack, tiny_models, folder):
    """An executor on the tiny 2.3 set, with a silent video and a sound in its input folder."""
    folders = [folder / name for name in ("input", "output")]
    folders[0].mkdir()
    time = torch.arange(2 * RATE) / RATE
    sound = torch.stack([0.5 * torch.sin(2 * math.pi * (200 + 300 * time) * time), 0.4 * torch.cos(1000 * time)])
    pack("ltx2.media.sound_file").save_flac(folders[0] / "sound.flac", sound, RATE, {})
    shade = torch.linspace(0, 1, 25)[:, None, None, None]
    with pack("ltx2.media.writer").VideoWriter(folders[0] / "clip.mp4", 96, 64, 24) as video:
        video.write(shade.expand(-1, 64, 96, 3))
    session = pack("nodes.host.headless.session").session
    with session(tiny_models("2.3"), *folders, device="cpu", temp=folder / "temp") as executor:
        yield executor


def graph(**nodes):
    """`name=(class, inputs)` as an API graph that loads the distilled model and samples three steps."""
    base = {
        "load": (
            "LTX2_LoadCheckpoint",
            {
                "checkpoint": "ltx-2.3-22b-distilled-1.1.safetensors",
                "text_encoder": "gemma-3-12b-it-qat-q4_0-unquantized",
            },
        ),
        "prompt": ("LTX2_EncodePrompt", {"text": "Waves.", "text_encoder": ["load", 1]}),
        "guider": ("LTX2_Guider", {"transformer": ["load", 0], "positive": ["prompt", 0]}),
        "sigmas": ("LTX2_DistilledSchedule", {"stage": "2"}),
        "canvas": ("LTX2_Canvas", {"width": 96, "height": 64, "frames": 17, "frame_rate": 24.0}),
        "empty": ("LTX2_EmptyLatents", {"canvas": ["canvas", 0], "scale": "1"}),
    }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in {**base, **nodes}.items()}


def sampling(**latents):
    return "LTX2_Sample", {"guider": ["guider", 0], "sigmas": ["sigmas", 0], "solver": "euler", "seed": 3, **latents}


def vaes(executor):
    """Links to the loader's outputs by name."""
    outputs = [output.id for output in executor.classes["LTX2_LoadCheckpoint"].GET_SCHEMA().outputs]
    return {name: ["load", outputs.index(name)] for name in ("video_vae", "audio_vae", "vocoder")}


def decoding(executor, **sound):
    inputs = {"video": ["sample", 0], "video_vae": vaes(executor)["video_vae"], "crf": 19, **sound}
    return "LTX2_DecodeVideo", {**inputs, "tiling": "automatic", "tile_size": 768, "tile_frames": 80}


SAVE = ("LTX2_SaveVideo", {"video": ["decode", 0], "filename_prefix": "clip"})


def saved_clip(executor, pack, folder, prompt):
    result = executor.run(prompt)
    (saved,) = pack("nodes.host.headless.session").saved_files(result, folder / "output")
    return result, pack("ltx2.media.probe").probe(saved), pack("nodes.host.headless.video").VideoFromFile(saved)


def test_audio_to_video_keeps_the_sound_and_gives_the_waveform_back(executor, pack, folder):
    parts = vaes(executor)
    prompt = graph(
        sound=("LoadAudio", {"audio": "sound.flac"}),
        encode=(
            "LTX2_EncodeAudio",
            {"audio": ["sound", 0], "audio_vae": parts["audio_vae"], "canvas": ["canvas", 0], "start": 0.0},
        ),
        freeze=("LTX2_Freeze", {"latent": ["encode", 0]}),
        sample=sampling(video=["empty", 0], audio=["freeze", 0]),
        decode=decoding(executor, audio=["sound", 0]),
        save=SAVE,
    )
    result, found, video = saved_clip(executor, pack, folder, prompt)
    assert torch.equal(result.values["sample"][1]["samples"], result.values["encode"][0]["samples"])
    assert (found.frames, found.frame_rate, found.audio_sample_rate) == (17, 24, RATE)
    given = result.values["sound"][0]["waveform"][..., : 17 * RATE // 24]
    heard = video.get_components().audio["waveform"][..., : given.shape[-1]]
    assert (heard - given)[..., 500:-500].abs().mean() < 0.02 < given.abs().mean() / 5


def test_video_to_audio_keeps_the_picture(executor, pack, folder):
    parts = vaes(executor)
    prompt = graph(
        clip=("LoadVideo", {"file": "clip.mp4"}),
        encode=(
            "LTX2_EncodeVideo",
            {"video": ["clip", 0], "video_vae": parts["video_vae"], "canvas": ["canvas", 0], "start": 0.0},
        ),
        freeze=("LTX2_Freeze", {"latent": ["encode", 0]}),
        sample=sampling(video=["freeze", 0], audio=["empty", 1]),
        sound=(
            "LTX2_DecodeAudio",
            {"audio": ["sample", 1], "audio_vae": parts["audio_vae"], "vocoder": parts["vocoder"]},
        ),
        decode=decoding(executor, audio=["sound", 0]),
        save=SAVE,
    )
    result, found, _ = saved_clip(executor, pack, folder, prompt)
    assert torch.equal(result.values["sample"][0]["samples"], result.values["encode"][0]["samples"])
    assert found.frames == 17
    assert found.audio_channels == 2
    assert abs(found.audio_duration - found.duration) < 0.03


def test_text_to_audio_is_a_sound_file(executor, pack, folder):
    parts = vaes(executor)
    prompt = graph(
        sample=sampling(audio=["empty", 1]),
        sound=(
            "LTX2_DecodeAudio",
            {"audio": ["sample", 1], "audio_vae": parts["audio_vae"], "vocoder": parts["vocoder"]},
        ),
        save=("SaveAudio", {"audio": ["sound", 0], "filename_prefix": "sound"}),
    )
    result = executor.run(prompt)
    assert result.values["sample"][0] is None
    (saved,) = pack("nodes.host.headless.session").saved_files(result, folder / "output")
    sound = pack("ltx2.media.sound_file").load_sound(saved)
    assert sound["sample_rate"] == RATE
    assert abs(sound["waveform"].shape[-1] / RATE - 17 / 24) < 0.05
    assert sound["waveform"].square().mean().sqrt() > 0.003


def test_video_alone_is_a_silent_file(executor, pack, folder):
    prompt = graph(sample=sampling(video=["empty", 0]), decode=decoding(executor), save=SAVE)
    result, found, _ = saved_clip(executor, pack, folder, prompt)
    assert result.values["sample"][1] is None
    assert (found.frames, found.audio_sample_rate) == (17, None)


def test_latents_in_each_others_place_are_refused_in_one_sentence(executor, pack):
    error = pack("ltx2.errors").LTX2Error
    for latents in ({"video": ["empty", 1]}, {"audio": ["empty", 0]}):
        prompt = graph(sample=sampling(**latents), decode=decoding(executor), save=SAVE)
        with pytest.raises(error, match=r"latent must be \[batch.*: are video and audio swapped\?"):
            executor.run(prompt)
