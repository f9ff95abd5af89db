"""Nodes by themselves: what they refuse, in the library's words."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 500}, "width must be a multiple of 32; got 500 (nearest: 480, 512)"),
        ({"width": 0}, "width must be 64 to 8192; got 0 (nearest: 64)"),
        ({"height": 32}, "height must be 64 to 8192; got 32 (nearest: 64)"),
        ({"height": 8224}, "height must be 64 to 8192; got 8224 (nearest: 8192)"),
        ({"frames": 100}, "frames must be 8n + 1; got 100 (nearest: 97, 105)"),
        ({"frames": 4001}, "frames must be 1 to 2049; got 4001 (nearest: 2049)"),
        ({"width": None, "height": 512, "frames": 97}, True),
    ],
)
def test_a_canvas_is_checked_before_anything_runs(node, values, message):
    assert node("LTX2_Canvas").validate_inputs(**values) == message


def test_constants_on_model_sockets_are_refused(node, error):
    for node_id, values in {
        "LTX2_EncodePrompt": {"text_encoder": "a file", "text": ""},
        "LTX2_Lora": {"transformer": 1, "lora": "x", "strength": 1.0},
        "LTX2_EmptyLatents": {"canvas": [768, 512], "scale": "1"},
        "LTX2_Guider": {"transformer": None, "positive": None},
        "LTX2_Sample": {"guider": {}, "sigmas": None, "solver": "euler", "seed": 0},
        "LTX2_DecodeAudio": {"audio": {}, "audio_vae": 3, "vocoder": 3},
        "LTX2_SaveVideo": {"video": "clip.mp4", "filename_prefix": "x"},
    }.items():
        with pytest.raises(error, match="must"):
            node(node_id).execute(**values)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_guide_strength(node, error, strength):
    with pytest.raises(error, match="strength of a guide must be 0 to 1"):
        node("LTX2_ImageGuide").execute(image=torch.zeros(1, 32, 32, 3), frame=0, strength=strength, crf=-1)


@pytest.fixture
def vae(pack, tiny_models):
    return pack("ltx2.recipe").VideoVAERecipe.open(next((tiny_models("2.3") / "checkpoints").glob("*dev*")))


def latent(pack, **changes):
    clip = pack("ltx2.latents").Clip(24.0)
    return {"samples": torch.zeros(1, 128, 2, 2, 2), "ltx2": clip, **changes}


DECODE = {"tiling": "automatic", "tile_size": 768, "tile_frames": 80}


def test_what_decoding_refuses(node, pack, error, vae):
    execute = node("LTX2_DecodeVideo").execute
    for changes, message in (
        ({"samples": torch.zeros(2, 128, 2, 2, 2)}, "one clip is decoded at a time; got a batch of 2"),
        ({"samples": torch.zeros(1, 64, 2, 2, 2)}, "must have 128 channels for this VAE; got 64"),
        ({"ltx2": None}, "must carry its frame rate"),
    ):
        with pytest.raises(error, match=message):
            execute(video=latent(pack, **changes), video_vae=vae, crf=19, **DECODE)


def test_decoded_images_are_the_frames(node, pack, vae):
    (images,) = node("LTX2_DecodeImages").execute(video=latent(pack), video_vae=vae, **DECODE).args
    assert images.shape == (9, 64, 64, 3)
    assert 0 <= images.min() < images.max() <= 1


def test_a_guide_outside_the_clip_is_refused(node, pack, error, vae):
    (guides,) = node("LTX2_ImageGuide").execute(image=torch.zeros(1, 32, 32, 3), frame=9, strength=1.0, crf=0).args
    with pytest.raises(error, match="a guide's frame must be -9 to 8 in a clip of 9; got 9"):
        node("LTX2_ApplyGuides").execute(video=latent(pack), guides=guides, video_vae=vae)


def test_temporal_upsampling_doubles_the_frame_rate(node, pack, vae, tiny_models):
    path = next((tiny_models("2.3") / "latent_upscale_models").glob("*temporal*"))
    upsampler = pack("ltx2.recipe").UpsamplerRecipe.open(path)
    given = latent(pack, samples=torch.randn(1, 128, 3, 2, 2))
    (out,) = node("LTX2_UpsampleLatent").execute(video=given, upsampler=upsampler, video_vae=vae).args
    assert out["samples"].shape == (1, 128, 5, 2, 2)
    assert out["ltx2"].frame_rate == 48.0
