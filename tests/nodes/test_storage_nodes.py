"""Saving and loading nodes: whole graphs headless, which files are listed, and what is run again."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture
def pair(pack):
    key = pack("ltx2.latents").Clip(30.0, continues=True)
    return {"samples": torch.rand(1, 128, 3, 2, 3), "ltx2": key}, {"samples": torch.rand(1, 8, 14, 16), "ltx2": key}


@pytest.fixture
def context(pack):
    return pack("ltx2.sampling.denoiser").Context(torch.rand(1, 128, 6), torch.rand(1, 128, 4))


def options(node, node_id):
    (combo,) = (given for given in node(node_id).GET_SCHEMA().inputs if given.id == "file")
    return combo.options


def test_latents_are_saved_listed_and_loaded(node, pair, tmp_path):
    saved = node("LTX2_SaveLatents").execute(video=pair[0], audio=pair[1], filename_prefix="cuts/%width%x%height%")
    assert saved.args == pair
    (told,) = saved.ui["files"]
    assert told == {"filename": "96x64_00001_.latents.safetensors", "subfolder": "cuts", "type": "output"}
    assert [path.name for path in (tmp_path / "output" / "cuts").iterdir()] == [told["filename"]]
    (name,) = options(node, "LTX2_LoadLatents")
    assert name == "cuts/96x64_00001_.latents.safetensors [output]"
    assert options(node, "LTX2_LoadConditioning") == []
    video, audio, canvas = node("LTX2_LoadLatents").execute(file=name).args
    assert torch.equal(video["samples"], pair[0]["samples"])
    assert torch.equal(audio["samples"], pair[1]["samples"])
    assert (video["ltx2"].frame_rate, video["ltx2"].continues) == (30.0, True)
    frames = (video["samples"].shape[2] - 1) * 8 + 1
    assert (canvas.width, canvas.height, canvas.frames, canvas.frame_rate) == (96, 64, frames, 30.0)


def test_a_file_is_never_written_over(node, pair):
    for _ in range(3):
        node("LTX2_SaveLatents").execute(audio=pair[1], filename_prefix="sound")
    names = [f"sound_0000{number}_.latents.safetensors [output]" for number in (1, 2, 3)]
    assert options(node, "LTX2_LoadLatents") == names
    video, _, canvas = node("LTX2_LoadLatents").execute(file=names[2]).args
    assert (video, canvas) == (None, None)


def test_conditioning_is_saved_and_loaded_from_the_input_folder_too(node, context, tmp_path):
    node("LTX2_SaveConditioning").execute(conditioning=context, filename_prefix="prompt")
    made = tmp_path / "output" / "prompt_00001_.conditioning.safetensors"
    (tmp_path / "input" / "kept").mkdir()
    made.rename(tmp_path / "input" / "kept" / "a.conditioning.safetensors")
    assert options(node, "LTX2_LoadConditioning") == ["kept/a.conditioning.safetensors"]
    (loaded,) = node("LTX2_LoadConditioning").execute(file="kept/a.conditioning.safetensors").args
    assert torch.equal(loaded.video, context.video)
    assert torch.equal(loaded.audio, context.audio)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..\\a [output]", "C:\\a", "a/../../b [output]", ""])
@pytest.mark.parametrize("node_id", ["LTX2_LoadLatents", "LTX2_LoadConditioning"])
def test_names_stay_in_their_folder(node, error, node_id, name):
    with pytest.raises(error, match="must (stay inside|be in) its folder"):
        node(node_id).execute(file=name)


def test_a_file_that_is_gone_is_said(node, error):
    with pytest.raises(error, match=r"there is no 'a\.latents\.safetensors \[output\]' in .*output; put it there"):
        node("LTX2_LoadLatents").execute(file="a.latents.safetensors [output]")


@pytest.mark.parametrize("prefix", ["../a", "/a", "a/../../b"])
def test_prefixes_stay_in_the_output_folder(node, error, pair, context, prefix):
    with pytest.raises(error, match="must stay inside its folder"):
        node("LTX2_SaveLatents").execute(video=pair[0], filename_prefix=prefix)
    with pytest.raises(error, match="must stay inside its folder"):
        node("LTX2_SaveConditioning").execute(conditioning=context, filename_prefix=prefix)


def test_other_values_are_refused(node, error):
    with pytest.raises(error, match="conditioning must come from LTX-2 Encode Prompt; got list"):
        node("LTX2_SaveConditioning").execute(conditioning=[[1, {}]], filename_prefix="a")
    with pytest.raises(error, match="video latent must be"):
        node("LTX2_SaveLatents").execute(video={"samples": torch.zeros(1, 4, 8, 8)}, filename_prefix="a")
    with pytest.raises(error, match="got neither"):
        node("LTX2_SaveLatents").execute(filename_prefix="a")


def test_a_changed_file_is_loaded_again(node, context, pair, tmp_path):
    for node_id, name in (("LTX2_LoadLatents", "a.latents"), ("LTX2_LoadConditioning", "a.conditioning")):
        file = tmp_path / "input" / f"{name}.safetensors"
        file.write_bytes(b"first")
        before = node(node_id).fingerprint_inputs(file=file.name)
        assert node(node_id).fingerprint_inputs(file=file.name) == before
        file.write_bytes(b"other")
        os.utime(file, ns=(1, 1))
        assert node(node_id).fingerprint_inputs(file=file.name) != before


def test_whole_graphs(pack, run_prompt, tiny_models, tmp_path):
    """What one graph saves, the next one samples; its prompt needs no text encoder."""
    checkpoint = "ltx-2.3-22b-distilled-1.1.safetensors"
    encoder = next(path.name for path in (tiny_models("2.3") / "text_encoders").iterdir())
    canvas = {"width": 64, "height": 64, "frames": 9, "frame_rate": 24.0}
    make = {
        "1": {"class_type": "LTX2_LoadCheckpoint", "inputs": {"checkpoint": checkpoint, "text_encoder": encoder}},
        "2": {"class_type": "LTX2_EncodePrompt", "inputs": {"text_encoder": ["1", 1], "text": "a bell rings"}},
        "3": {"class_type": "LTX2_SaveConditioning", "inputs": {"conditioning": ["2", 0], "filename_prefix": "p"}},
        "4": {"class_type": "LTX2_Canvas", "inputs": canvas},
        "5": {"class_type": "LTX2_EmptyLatents", "inputs": {"canvas": ["4", 0], "scale": "1"}},
        "6": {
            "class_type": "LTX2_SaveLatents",
            "inputs": {"video": ["5", 0], "audio": ["5", 1], "filename_prefix": "sub/l"},
        },
    }
    first = run_prompt(tiny_models("2.3"), make)
    assert first.values["6"][0] is first.values["5"][0]
    told = pack("nodes.host.headless.session").saved_files(first, tmp_path / "output")
    assert len(told) == 2
    assert all(file.is_file() for file in told)
    latents, conditioning = "sub/l_00001_.latents.safetensors [output]", "p_00001_.conditioning.safetensors [output]"
    use = {
        "1": {"class_type": "LTX2_LoadTransformer", "inputs": {"file": checkpoint}},
        "2": {"class_type": "LTX2_LoadConditioning", "inputs": {"file": conditioning}},
        "3": {"class_type": "LTX2_Guider", "inputs": {"transformer": ["1", 0], "positive": ["2", 0]}},
        "4": {"class_type": "LTX2_LoadLatents", "inputs": {"file": latents}},
        "5": {"class_type": "LTX2_DistilledSchedule", "inputs": {"stage": "2"}},
        "6": {
            "class_type": "LTX2_Sample",
            "inputs": {
                "guider": ["3", 0],
                "sigmas": ["5", 0],
                "video": ["4", 0],
                "audio": ["4", 1],
                "solver": "euler",
                "seed": 1,
            },
        },
        "7": {
            "class_type": "LTX2_SaveLatents",
            "inputs": {"video": ["6", 0], "audio": ["6", 1], "filename_prefix": "sub/l"},
        },
    }
    second = run_prompt(tiny_models("2.3"), use)
    assert second.values["6"][0]["samples"].shape == (1, 128, 2, 2, 2)
    assert sorted(path.name for path in (tmp_path / "output" / "sub").iterdir()) == [
        "l_00001_.latents.safetensors",
        "l_00002_.latents.safetensors",
    ]
