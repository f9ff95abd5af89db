"""ComfyUI's nodes for sound and video files on the headless host: what they read, save and refuse."""

from __future__ import annotations

import math

import pytest
import torch


@pytest.fixture
def executor(pack, host, tmp_path):
    """An executor of ComfyUI's own nodes, with a video and a silent one in the input folder."""
    time = torch.arange(48000) / 48000
    sound = torch.stack([0.5 * torch.sin(2 * math.pi * 440 * time), 0.5 * torch.sin(2 * math.pi * 660 * time)])
    writer = pack("ltx2.media.writer").VideoWriter
    for name, audio in (("clip.mp4", (sound, 48000)), ("silent.mp4", None)):
        with writer(tmp_path / "input" / name, 64, 32, 24, audio=audio) as video:
            video.write(torch.linspace(0, 1, 24)[:, None, None, None].expand(-1, 32, 64, 3))
    (tmp_path / "input" / "notes.txt").write_text("no media")
    core = pack("nodes.host.headless.core_nodes").CORE_NODES
    return pack("nodes.host.headless.executor").Executor(host, core)


def graph(**nodes):
    """`name=(class, inputs)` as an API graph."""
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def test_combos_list_the_files_of_their_kind(executor):
    infos = executor.infos()
    assert infos["LoadVideo"].inputs["file"].config["options"] == ["clip.mp4", "silent.mp4"]
    assert infos["LoadAudio"].inputs["audio"].config["options"] == ["clip.mp4", "silent.mp4"]
    assert infos["LoadVideo"].inputs["file"].config["video_upload"] is True
    assert infos["LoadAudio"].inputs["audio"].config["audio_upload"] is True


def test_a_video_comes_apart_and_its_sound_is_saved(executor, pack, tmp_path):
    prompt = graph(
        load=("LoadVideo", {"file": "clip.mp4"}),
        parts=("GetVideoComponents", {"video": ["load", 0]}),
        save=("SaveAudio", {"audio": ["parts", 1], "filename_prefix": "audio/clip"}),
    )
    result = executor.run(prompt, {"workflow": {"nodes": []}})
    images, sound, rate, depth, space = result.values["parts"]
    assert images.shape == (24, 32, 64, 3)
    assert (rate, depth, space) == (24.0, 8, "sRGB")
    (saved,) = pack("nodes.host.headless.session").saved_files(result, tmp_path / "output")
    assert saved == tmp_path / "output" / "audio" / "clip_00001_.flac"
    read = pack("ltx2.media.sound_file").load_sound(saved)
    torch.testing.assert_close(read["waveform"], sound["waveform"], atol=1e-4, rtol=0)
    tags = pack("ltx2.media.probe").av.open(str(saved)).metadata
    assert {"PROMPT", "WORKFLOW"} <= {key.upper() for key in tags}


def test_sound_is_loaded_from_sound_and_video_files(executor):
    prompt = graph(
        load=("LoadAudio", {"audio": "clip.mp4"}),
        save=("SaveAudio", {"audio": ["load", 0], "filename_prefix": "a"}),
    )
    (sound,) = executor.run(prompt).values["load"]
    assert sound["sample_rate"] == 48000
    assert sound["waveform"].shape[:2] == (1, 2)


def test_a_changed_file_is_read_again(executor, tmp_path):
    prompt = graph(
        load=("LoadAudio", {"audio": "clip.mp4"}),
        save=("SaveAudio", {"audio": ["load", 0], "filename_prefix": "a"}),
    )
    assert executor.run(prompt).executed == ("load", "save")
    assert executor.run(prompt).executed == ()
    path = tmp_path / "input" / "clip.mp4"
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    assert executor.run(prompt).executed == ("load", "save")


def test_what_is_missing_or_silent_is_refused(executor, pack):
    error = pack("ltx2.errors").LTX2Error
    for kind, name in (("LoadAudio", "audio"), ("LoadVideo", "file")):
        with pytest.raises(error, match="there is no 'none.mp4'"):
            executor.run(
                graph(
                    load=(kind, {name: "none.mp4"}),
                    save=("SaveAudio", {"audio": ["load", 0], "filename_prefix": "a"}),
                )
            )
    silent = graph(
        load=("LoadVideo", {"file": "silent.mp4"}),
        parts=("GetVideoComponents", {"video": ["load", 0]}),
        save=("SaveAudio", {"audio": ["parts", 1], "filename_prefix": "a"}),
    )
    with pytest.raises(error, match="got none: the video is silent"):
        executor.run(silent)


@pytest.mark.parametrize("shown", ["upload", "audioUI", "video-preview"])
def test_what_frontends_export_of_their_players_is_passed_over(executor, shown):
    prompt = graph(
        load=("LoadAudio", {"audio": "clip.mp4", shown: ""}),
        save=("SaveAudio", {"audio": ["load", 0], "filename_prefix": "a"}),
    )
    assert executor.validate(prompt).outputs == ("save",)
    prompt["save"]["inputs"][shown] = ""
    with pytest.raises(Exception, match="no such input"):
        executor.validate(prompt)
