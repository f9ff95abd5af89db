"""A clip that grows beyond what is sampled at once: trim, extend, sample and join, twice, then one file."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

CHECKPOINT = "ltx-2.3-22b-distilled-1.1.safetensors"
CONTEXT = 0.7  # seconds: three latents, 17 frames
ROUNDS = 2


def of(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def sample(seed, **latents):
    return of("LTX2_Sample", guider=["guider", 0], sigmas=["sigmas", 0], solver="euler", seed=seed, **latents)


def graph(encoder, rate, seconds):
    nodes = {
        "models": of("LTX2_LoadCheckpoint", checkpoint=CHECKPOINT, text_encoder=encoder),
        "prompt": of("LTX2_EncodePrompt", text_encoder=["models", 1], text="a bell rings", cache=False),
        "guider": of("LTX2_Guider", transformer=["models", 0], positive=["prompt", 0]),
        "sigmas": of("LTX2_DistilledSchedule", stage="2"),
        "canvas": of("LTX2_Canvas", width=64, height=64, frames=33, frame_rate=rate),
        "empty": of("LTX2_EmptyLatents", canvas=["canvas", 0], scale="1"),
        "clip 0": sample(0, video=["empty", 0], audio=["empty", 1]),
    }
    for number in range(1, ROUNDS + 1):
        clip, context, longer, new = f"clip {number - 1}", f"context {number}", f"longer {number}", f"new {number}"
        nodes |= {
            context: of("LTX2_TrimLatents", video=[clip, 0], audio=[clip, 1], start=-CONTEXT, end=0.0),
            longer: of("LTX2_Extend", video=[context, 0], audio=[context, 1], seconds=seconds, direction="after"),
            new: sample(number, video=[longer, 0], audio=[longer, 1]),
            f"clip {number}": of(
                "LTX2_JoinLatents",
                first_video=[clip, 0],
                first_audio=[clip, 1],
                second_video=[new, 0],
                second_audio=[new, 1],
                overlap=CONTEXT,
            ),
        }
    tiles = {"tiling": "automatic", "tile_size": 768, "tile_frames": 80}
    return nodes | {
        "sound": of("LTX2_DecodeAudio", audio=[f"clip {ROUNDS}", 1], audio_vae=["models", 3], vocoder=["models", 4]),
        "film": of(
            "LTX2_DecodeVideo",
            video=[f"clip {ROUNDS}", 0],
            video_vae=["models", 2],
            audio=["sound", 0],
            crf=19,
            **tiles,
        ),
        "file": of("LTX2_SaveVideo", video=["film", 0], filename_prefix="long"),
    }


def starts_with(latent, start):
    return torch.equal(latent["samples"][:, :, : start["samples"].shape[2]], start["samples"])


@pytest.mark.parametrize(("rate", "seconds", "added"), [(24.0, 1.0, 3), (30.0, 0.6, 2)])
def test_a_clip_grows_in_parts(pack, run_prompt, tiny_models, tmp_path, rate, seconds, added):
    geometry = pack("ltx2.geometry")
    encoder = next(path.name for path in (tiny_models("2.3") / "text_encoders").iterdir())
    result = run_prompt(tiny_models("2.3"), graph(encoder, rate, seconds))
    for number in range(1, ROUNDS + 1):
        before, after = (result.values[f"clip {n}"] for n in (number - 1, number))
        context, new = (result.values[f"{name} {number}"] for name in ("context", "new"))
        assert context[0]["ltx2"].continues
        assert new[0]["ltx2"].continues
        for modality in (0, 1):
            assert starts_with(new[modality], context[modality]), "sampling keeps the context"
            assert starts_with(after[modality], before[modality]), "joining keeps what was there"
        latents = 5 + number * added
        assert after[0]["samples"].shape[2] == latents
        assert after[1]["samples"].shape[2] == geometry.audio_latents(geometry.pixel_frames(latents), rate)
        assert torch.equal(after[0]["samples"][:, :, -added:], new[0]["samples"][:, :, -added:])
        assert after[0]["samples"][:, :, -added:].abs().amax((0, 1, 3, 4)).min() > 0
    frames = geometry.pixel_frames(5 + ROUNDS * added)
    assert result.values[f"clip {ROUNDS}"][2] == frames / rate
    (file,) = (tmp_path / "output").glob("long_*.mp4")
    film = pack("nodes.host.headless.video").VideoFromFile(str(file)).get_components()
    assert film.images.shape[0] == frames
    assert film.frame_rate == Fraction(int(rate))
    waveform, hertz = film.audio["waveform"], film.audio["sample_rate"]
    assert abs(waveform.shape[-1] / hertz - frames / rate) <= 1024 / hertz
    assert (film.images[1:] - film.images[:-1]).abs().flatten(1).mean(1).min() > 0.001, "no frame is held"
