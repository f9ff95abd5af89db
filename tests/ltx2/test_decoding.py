"""Decoding into a file: stopped between two frames, it leaves nothing."""

from __future__ import annotations

import pytest
import torch

from ltx2.decoding import decode_to_file
from ltx2.recipe import VideoVAERecipe


class Stopped(Exception):
    """What a user's cancelling raises."""


def test_a_file_is_stopped_between_frames_and_leaves_nothing(tiny_models, tmp_path):
    checkpoint = next((tiny_models("2.3") / "checkpoints").glob("*distilled*"))
    vae = VideoVAERecipe.open(checkpoint).build()
    latent = torch.randn(1, 128, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    looked, stop_at = 0, 0

    def check():
        nonlocal looked
        looked += 1
        if looked == stop_at:
            raise Stopped

    def decode():
        nonlocal looked
        looked = 0
        with torch.inference_mode():
            decode_to_file(
                tmp_path / "clip.mp4", vae, latent, 24.0, None, crf=19, tiling=None, on_step=None, check=check
            )

    decode()
    assert looked == 5, "17 frames, at most four at a time"
    expected = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").unlink()
    stop_at = 3
    with pytest.raises(Stopped):
        decode()
    assert looked == 3
    assert list(tmp_path.iterdir()) == []
    stop_at = 0
    decode()
    assert (tmp_path / "clip.mp4").read_bytes() == expected
