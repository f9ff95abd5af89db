"""Sound files: what is written comes back, any container is read, and what is no sound is refused."""

from __future__ import annotations

import math

import av
import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.media.sound_file import load_sound, save_flac
from ltx2.media.writer import VideoWriter


def tone(channels: int, rate: int = 22050) -> torch.Tensor:
    time = torch.arange(rate) / rate
    return torch.stack([0.7 * torch.sin(2 * math.pi * (300 + 50 * channel) * time) for channel in range(channels)])


@pytest.mark.parametrize("channels", [1, 2])
def test_flac_keeps_a_waveform_to_16_bits(tmp_path, channels):
    waveform = tone(channels)
    save_flac(tmp_path / "a.flac", waveform, 22050, {"prompt": '{"é": 1}'})
    sound = load_sound(tmp_path / "a.flac")
    assert sound["sample_rate"] == 22050
    torch.testing.assert_close(sound["waveform"], waveform[None], atol=0.51 / 2**15, rtol=0)
    with av.open(str(tmp_path / "a.flac")) as container:
        assert {key.lower(): value for key, value in container.metadata.items()}["prompt"] == '{"é": 1}'


def test_what_is_beyond_full_scale_is_clipped(tmp_path):
    save_flac(tmp_path / "a.flac", torch.tensor([[2.0, -2.0] * 3000]), 16000, {})
    waveform = load_sound(tmp_path / "a.flac")["waveform"]
    assert (float(waveform.max()), float(waveform.min())) == pytest.approx((1.0, -1.0), abs=1e-4)


def test_the_sound_of_a_video_is_a_sound(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 64, 64, 24, audio=(tone(2, 48000), 48000)) as video:
        video.write(torch.zeros(12, 64, 64, 3))
    sound = load_sound(tmp_path / "a.mp4")
    assert sound["waveform"].shape[:2] == (1, 2)
    assert 0 <= sound["waveform"].shape[2] - 24000 < 1024, "AAC has whole frames"
    assert sound["waveform"].abs().mean() > 0.3


def test_what_is_no_sound_is_refused(tmp_path):
    with VideoWriter(tmp_path / "silent.mp4", 64, 64, 24) as video:
        video.write(torch.zeros(2, 64, 64, 3))
    (tmp_path / "text.wav").write_text("no sound")
    for name, message in (("silent.mp4", "has none"), ("text.wav", "cannot be read"), ("none.wav", "must exist")):
        with pytest.raises(LTX2Error, match=message):
            load_sound(tmp_path / name)
    for waveform, message in (
        (torch.zeros(6, 100), "1 or 2 channels"),
        (torch.zeros(2, 0), "1 or 2 channels"),
        (torch.full((1, 9), math.nan), "finite"),
    ):
        with pytest.raises(LTX2Error, match=message):
            save_flac(tmp_path / "b.flac", waveform, 16000, {})
    assert not (tmp_path / "b.flac").exists()
