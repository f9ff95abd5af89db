"""Videos read as streams: times, colours, rotation, windows, sound in step, and files that are damaged."""

from __future__ import annotations

import io
import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.media.reader import Pictures, VideoFile, at_rate
from ltx2.media.writer import VideoWriter

WIDTH, HEIGHT, AUDIO_RATE = 96, 64, 48000


def numbered(count: int) -> torch.Tensor:
    """Pictures whose grey is their number / 100."""
    return torch.stack([torch.full((HEIGHT, WIDTH, 3), number / 100) for number in range(count)])


def tone(seconds: float) -> torch.Tensor:
    time = torch.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    return torch.stack([0.5 * torch.sin(2 * math.pi * (200 + 300 * time) * time), 0.3 * torch.cos(900 * time)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """50 numbered pictures at 24 per second with a rising tone."""
    path = tmp_path_factory.mktemp("reader") / "clip.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, 24, crf=0, audio=(tone(3), AUDIO_RATE)) as video:
        video.write(numbered(50))
    return path


def numbers(frames) -> list[int]:
    return [round(float(frame[HEIGHT // 2, WIDTH // 2, 0]) / 255 * 100) for frame in frames]


def test_a_file_says_what_it_is(clip):
    video = VideoFile(clip)
    assert (video.width, video.height, video.frame_rate, video.seconds) == (WIDTH, HEIGHT, 24, Fraction(50, 24))
    assert video.has_sound
    assert repr(video) == "clip.mp4"


def test_at_its_own_rate_every_picture_is_read_once(clip):
    frames = list(VideoFile(clip).frames(Fraction(24), 50))
    assert {(frame.dtype, tuple(frame.shape)) for frame in frames} == {(torch.uint8, (HEIGHT, WIDTH, 3))}
    assert numbers(frames) == list(range(50))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (12, [0, 2, 4, 6, 8]),
        (25, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 13]),
        (48, [0, 1, 1, 2, 2, 3, 3]),  # half-way between two the later one is taken
        (Fraction(30000, 1001), [0, 1, 2, 2, 3, 4, 5, 6, 6]),
    ],
)
def test_another_rate_takes_the_nearest_picture(clip, rate, expected):
    assert numbers(VideoFile(clip).frames(Fraction(rate), len(expected))) == expected


def test_irregular_times_become_regular():
    times = [Fraction(time, 10) for time in (5, 6, 7, 11, 12)]
    assert list(at_rate(zip(times, "abcde", strict=True), Fraction(10), 9)) == list("abccdddee")


def test_reading_stops_where_no_more_is_wanted():
    read = []

    def endless():
        number = 0
        while True:
            read.append(number)
            yield Fraction(number, 24), number
            number += 1

    assert list(at_rate(endless(), Fraction(24), 3)) == [0, 1, 2]
    assert len(read) == 4


@pytest.mark.parametrize(("start", "duration", "expected"), [(1.0, 0.5, range(24, 36)), (0.51, 0.0, range(12, 50))])
def test_a_window_of_a_file(clip, start, duration, expected):
    video = VideoFile(str(clip), start, duration)
    assert video.seconds == Fraction(len(expected), 24)
    assert numbers(video.frames(video.frame_rate, len(expected))) == list(expected)


def test_a_file_in_memory(clip):
    video = VideoFile(io.BytesIO(clip.read_bytes()))
    assert numbers(video.frames(Fraction(24), 3)) == [0, 1, 2]
    assert numbers(video.frames(Fraction(24), 3)) == [0, 1, 2]
    assert video.sound(video.seconds)["waveform"].shape[-1] == 100000


def test_sound_is_in_step_with_the_window(clip):
    original = tone(3)
    for start in (0.0, 1.0):
        video = VideoFile(clip, start)
        sound = video.sound(video.seconds)
        assert sound["sample_rate"] == AUDIO_RATE
        assert sound["waveform"].shape == (1, 2, round(video.seconds * AUDIO_RATE))
        first = round(start * AUDIO_RATE)
        expected = original[:, first : first + sound["waveform"].shape[-1]]
        # AAC is lossy; a shift of 10 samples would be an error of 0.3.
        assert (sound["waveform"][0] - expected)[:, 500:-500].abs().mean() < 0.01


def test_a_silent_file_has_no_sound(tmp_path):
    with VideoWriter(tmp_path / "silent.mp4", WIDTH, HEIGHT, 24) as video:
        video.write(numbered(3))
    silent = VideoFile(tmp_path / "silent.mp4")
    assert not silent.has_sound
    assert silent.sound(silent.seconds) is None


def test_surround_sound_is_mixed_down_and_late_sound_waits(tmp_path):
    path = tmp_path / "surround.mkv"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=24)
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("flac", rate=16000, layout="5.1")
        for _ in range(24):
            container.mux(pictures.encode(av.VideoFrame(WIDTH, HEIGHT, "yuv420p")))
        container.mux(pictures.encode())
        samples = np.full((1, 6 * 4096), 8000, dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="5.1")
        frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), 4000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    waveform = VideoFile(path).sound(Fraction(1))["waveform"]
    assert waveform.shape == (1, 2, 8096)
    assert waveform[..., :3900].abs().max() == 0
    assert waveform[..., 4100:].abs().min() > 0.1


def test_colours_come_back(tmp_path):
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0.8, 0.3, 0.6]])
    picture = colours[:, None].expand(6, 16, 3).reshape(1, 96, 3).expand(HEIGHT, WIDTH, 3)
    with VideoWriter(tmp_path / "colours.mp4", WIDTH, HEIGHT, 24, crf=0) as video:
        video.write(picture[None].expand(2, -1, -1, -1))
    (read,) = VideoFile(tmp_path / "colours.mp4").frames(Fraction(24), 1)
    found = read.reshape(HEIGHT, 6, 16, 3)[HEIGHT // 2, :, 8]
    assert (found.float() - colours * 255).abs().max() <= 2


def test_an_untagged_file_has_the_matrix_that_players_take(tmp_path):
    for height, weights in ((64, (0.299, 0.587, 0.114)), (720, (0.2126, 0.7152, 0.0722))):
        path = tmp_path / f"{height}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=24, options={"crf": "0"})
            stream.width, stream.height, stream.pix_fmt = 64, height, "yuv444p"
            planes = np.zeros((3, height, 64), dtype=np.uint8)
            planes[0], planes[1] = round(16 + 219 * weights[0]), round(128 - 112 * weights[0] / (1 - weights[2]))
            planes[2] = 240  # pure red
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv444p")))
            container.mux(stream.encode())
        (picture,) = VideoFile(path).frames(Fraction(24), 1)
        assert (picture[height // 2, 32].float() - torch.tensor([255.0, 0, 0])).abs().max() <= 3


def rotated(path: Path, quarter_turns: int) -> io.BytesIO:
    """The mp4 with another display matrix in its first track header."""
    data = bytearray(path.read_bytes())
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns]
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    return io.BytesIO(bytes(data))


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_pictures_are_upright(tmp_path, quarter_turns):
    """A phone stores what it sees and notes how it was held: clockwise turns that make the picture upright."""
    picture = torch.zeros(HEIGHT, WIDTH, 3)
    picture[: HEIGHT // 2, : WIDTH // 2] = 1  # the stored picture's top left
    with VideoWriter(tmp_path / "held.mp4", WIDTH, HEIGHT, 24, crf=0) as video:
        video.write(picture[None].expand(2, -1, -1, -1))
    video = VideoFile(rotated(tmp_path / "held.mp4", quarter_turns))
    (read,) = video.frames(Fraction(24), 1)
    assert (video.height, video.width) == tuple(read.shape[:2])
    expected = torch.rot90(picture, -quarter_turns) * 255
    assert read.shape == expected.shape
    assert (read.float() - expected).abs().mean() < 3


def test_wide_pixels_become_square(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 72, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame(72, 64, "yuv420p")))
        container.mux(stream.encode())
    video = VideoFile(path)
    assert (video.width, video.height) == (96, 64)
    assert next(video.frames(Fraction(24), 1)).shape == (64, 96, 3)


def test_an_hdr_video_is_warned_about(tmp_path, caplog):
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.color_trc = 16
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    VideoFile(path)
    assert "hdr.mp4 is an HDR video" in caplog.text


def test_damaged_and_foreign_files_are_refused(clip, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(LTX2Error, match="must be a video"):
        VideoFile(tmp_path / "text.mp4")
    with pytest.raises(LTX2Error, match="must exist"):
        VideoFile(tmp_path / "missing.mp4")
    with pytest.raises(LTX2Error, match="has none there; choose an earlier start"):
        VideoFile(clip, start=10.0)


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes_and_said(clip, tmp_path, caplog):
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])  # the index is in front: pictures are missing
    video = VideoFile(tmp_path / "cut.mp4")
    assert "cut.mp4 ends" in caplog.text
    count = round(video.seconds * 24)
    assert 5 < count < 40
    assert numbers(video.frames(Fraction(24), count)) == list(range(count))


def test_pictures_in_memory_are_read_like_a_file():
    sound = {"waveform": tone(2)[None], "sample_rate": AUDIO_RATE}
    video = Pictures(numbered(48), Fraction(24), sound, start=0.5)
    assert (video.width, video.height, video.seconds) == (WIDTH, HEIGHT, Fraction(36, 24))
    assert numbers(video.frames(Fraction(12), 4)) == [12, 14, 16, 18]
    heard = video.sound(Fraction(1, 2))
    assert torch.equal(heard["waveform"], sound["waveform"][..., 24000:48000])
    assert Pictures(numbered(2), Fraction(24)).sound(Fraction(1)) is None
    short = {**sound, "waveform": sound["waveform"][..., :24000]}
    assert Pictures(numbered(48), Fraction(24), short, start=0.5).sound(Fraction(1)) is None, "as a file has none there"
    with pytest.raises(LTX2Error, match="within the 48 images"):
        Pictures(numbered(48), Fraction(24), start=2.0)


def test_pictures_without_values_are_refused():
    images = numbered(3)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(LTX2Error, match="every pixel must be a number; picture 1 of a video of 3 images holds NaN"):
        list(Pictures(images, Fraction(24)).frames(Fraction(24), 3))
