"""Decoding into a file: stopped between two frames, it leaves nothing."""

from __future__ import annotations

import threading

import pytest
import torch

from ltx2.decoding import decode_frames, decode_to_file
from ltx2.errors import LTX2Error
from ltx2.media.writer import VideoWriter
from ltx2.recipe import VideoVAERecipe
from ltx2.runtime.tiling import Tiling


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


def test_frames_are_encoded_by_a_thread_whose_errors_end_decoding(tiny_models, tmp_path, monkeypatch):
    checkpoint = next((tiny_models("2.3") / "checkpoints").glob("*distilled*"))
    vae = VideoVAERecipe.open(checkpoint).build()
    latent = torch.randn(1, 128, 9, 2, 2, generator=torch.Generator().manual_seed(1))
    write, seen = VideoWriter.write_planes, []

    def decode(name, tiling=None):
        options = {"crf": 19, "tiling": tiling, "on_step": None}
        with torch.inference_mode():
            decode_to_file(tmp_path / name, vae, latent, 24.0, None, **options)

    def refuse(writer, planes):
        seen.append((threading.current_thread().name, planes.shape[1:], planes.dtype))
        if len(seen) == 3:
            raise OSError("no more")
        write(writer, planes)

    decode("whole.mp4")
    decode("streamed.mp4", Tiling())
    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write_planes", refuse)
        with pytest.raises(OSError, match="no more"):
            decode("broken.mp4", Tiling())
    assert seen == [("ltx2 video writer_0", (96, 64), torch.uint8)] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["streamed.mp4", "whole.mp4"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ltx2 video")]


def test_nan_from_the_decoder_is_said(tiny_models, tmp_path):
    checkpoint = next((tiny_models("2.3") / "checkpoints").glob("*distilled*"))
    vae = VideoVAERecipe.open(checkpoint).build()
    latent = torch.full((1, 128, 2, 2, 2), torch.nan)
    with torch.inference_mode(), pytest.raises(LTX2Error, match="video decode"):
        decode_to_file(tmp_path / "nan.mp4", vae, latent, 24.0, None, crf=19, tiling=Tiling(), on_step=None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_infinite_is_no_white_frame(tiny_models, tmp_path):
    checkpoint = next((tiny_models("2.3") / "checkpoints").glob("*distilled*"))
    vae = VideoVAERecipe.open(checkpoint).build()
    latent = torch.zeros(1, 128, 2, 2, 2)
    vae.decoder.conv_out.conv.bias = torch.nn.Parameter(
        torch.full_like(vae.decoder.conv_out.conv.bias, torch.inf), requires_grad=False
    )
    with torch.inference_mode():
        with pytest.raises(LTX2Error, match="video decode"):
            decode_to_file(tmp_path / "inf.mp4", vae, latent, 24.0, None, crf=19, tiling=Tiling(), on_step=None)
        with pytest.raises(LTX2Error, match="video decode"):
            list(decode_frames(vae, latent, Tiling(), None))
    assert list(tmp_path.iterdir()) == []
