"""The mp4: exact timing, BT.709 colours, sound in step, tags in front, and nothing at all where something failed."""

from __future__ import annotations

import math
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.media.frame_rate import frame_rate_fraction
from ltx2.media.probe import probe
from ltx2.media.remux import remux
from ltx2.media.writer import VideoWriter

WIDTH, HEIGHT, RATE = 96, 64, 24000
TAGS = {"workflow": '{"nodes": ["é"]}', "prompt": "{}"}


def clip(frames: int = 25) -> torch.Tensor:
    """A moving gradient, (frames, 64, 96, 3)."""
    time, y, x = torch.meshgrid(*(torch.linspace(0, 1, size) for size in (frames, HEIGHT, WIDTH)), indexing="ij")
    return torch.stack([(x + time) % 1, y, time], -1)


def tone(seconds: float, channels: int = 2) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.stack([0.5 * torch.sin(2 * math.pi * pitch * time) for pitch in (440, 660)[:channels]])


def write(path: Path, frames: torch.Tensor, rate: float = 24.0, chunk: int = 8, **options) -> Path:
    with VideoWriter(path, frames.shape[2], frames.shape[1], rate, **options) as video:
        for part in frames.split(chunk):
            video.write(part)
    return path


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Planes of all frames (n, h * 3 / 2, w), samples (2, T)."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray() for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, None
        return frames, np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_the_container_says_what_was_written(tmp_path):
    path = write(tmp_path / "clip.mp4", clip(), audio=(tone(1.0), RATE), metadata=TAGS)
    found = probe(path)
    assert (found.width, found.height, found.frames) == (WIDTH, HEIGHT, 25)
    assert (found.frame_rate, found.duration) == (24, Fraction(25, 24))
    assert (found.audio_sample_rate, found.audio_channels) == (RATE, 2)
    assert {key: found.metadata[key] for key in TAGS} == TAGS
    assert "creation_time" not in found.metadata
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt, audio.codec_context.name) == (
            "h264",
            "yuv420p",
            "aac",
        )
        assert [frame.pts * frame.time_base for frame in container.decode(video)] == [
            Fraction(i, 24) for i in range(25)
        ]
    assert list(tmp_path.iterdir()) == [path]


def test_the_index_stands_before_the_media(tmp_path):
    data = write(tmp_path / "clip.mp4", clip(), metadata=TAGS).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"workflow") < data.index(b"mdat")


@pytest.mark.parametrize("seconds", [0.1, 25 / 24, 3.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_lasts_as_long_as_the_picture(tmp_path, seconds, channels):
    path = write(tmp_path / "clip.mp4", clip(), audio=(tone(seconds, channels), RATE))
    assert abs(probe(path).audio_duration - Fraction(25, 24)) <= Fraction(1024, RATE)
    samples = decoded(path)[1]
    assert 0 <= samples.shape[1] - 25000 < 1024
    heard = min(round(seconds * RATE), 25000)
    left, expected = samples[0, 500 : heard - 500], tone(seconds)[0, 500 : heard - 500].numpy()
    assert np.corrcoef(left, expected)[0, 1] > 0.99, "the sound must neither be shifted nor cut"
    if heard < 20000:
        assert np.abs(samples[:, heard + 2048 :]).max() < 1e-3
    if channels == 1:
        assert np.allclose(samples[0], samples[1], atol=0.02)


COLOURS = {  # RGB: luma, Cb, Cr of BT.709 in limited range, as published; BT.601 has 82, 90, 240 for red
    (0, 0, 0): (16, 128, 128),
    (1, 1, 1): (235, 128, 128),
    (1, 0, 0): (63, 102, 240),
    (0, 1, 0): (173, 42, 26),
    (0, 0, 1): (32, 240, 118),
}


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_go_through_bt709_and_the_tags_say_so(tmp_path, colour):
    path = write(tmp_path / "clip.mp4", torch.tensor(colour).float().expand(2, HEIGHT, WIDTH, 3), crf=0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
    planes = [np.frombuffer(plane, np.uint8)[: plane.width] for plane in frame.planes]
    assert all(plane.min() == plane.max() == value for plane, value in zip(planes, COLOURS[colour], strict=True))


def test_a_picture_keeps_its_place(tmp_path):
    frames = torch.zeros(1, HEIGHT, WIDTH, 3)
    frames[:, 16:32, 48:80] = torch.tensor([0.9, 0.2, 0.1])
    path = write(tmp_path / "clip.mp4", frames, crf=4)
    planes = decoded(path)[0][0].astype(float)
    luma = (planes[:HEIGHT] - 16) / 219
    blue, red = ((plane - 128) / 224 for plane in planes[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2))
    blue, red = (np.kron(plane, np.ones((2, 2))) for plane in (1.8556 * blue, 1.5748 * red))
    green = -(0.2126 * red + 0.0722 * blue) / 0.7152
    shown = np.stack([luma + red, luma + green, luma + blue], -1)
    difference = np.abs(shown - frames[0].numpy())
    assert difference.mean() < 0.01
    assert difference[18:30, 50:78].max() < 0.03
    assert difference[:14].max() < 0.03


def test_equal_frames_give_equal_files_however_they_arrive(tmp_path):
    """The heap is dirtied meanwhile: x264 on AVX-512 lets what lies there decide about the picture."""
    noise, sound, found = np.random.default_rng(0), (tone(1.0), RATE), set()
    for chunk in (8, 3, 1, 25):
        with VideoWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 24, audio=sound, metadata=TAGS) as video:
            for part in clip().split(chunk):
                dirt = [noise.integers(0, 256, int(size), dtype=np.uint8) for size in noise.integers(100, 300_000, 40)]
                del dirt
                video.write(part)
        found.add((tmp_path / "a.mp4").read_bytes())
    assert len(found) == 1
    other = write(tmp_path / "c.mp4", clip() * 0.9, audio=sound, metadata=TAGS)
    assert not np.array_equal(decoded(tmp_path / "a.mp4")[0], decoded(other)[0])


def test_a_lower_crf_is_closer_to_the_frames(tmp_path):
    torch.manual_seed(0)
    frames = torch.rand(2, HEIGHT, WIDTH, 3)
    lossless, fine, coarse = (decoded(write(tmp_path / f"{crf}.mp4", frames, crf=crf))[0] for crf in (0, 19, 40))
    errors = [np.abs(found.astype(int) - lossless.astype(int)).mean() for found in (fine, coarse)]
    assert 0 < errors[0] < errors[1]


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (24, Fraction(24)),
        (25.0, Fraction(25)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (24.01, Fraction(2401, 100)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
    ],
)
def test_frame_rates_are_exact_in_the_file(tmp_path, given, exact):
    assert frame_rate_fraction(given) == exact
    found = probe(write(tmp_path / "clip.mp4", clip(9), rate=given))
    assert (found.frame_rate, found.duration, found.frames) == (exact, 9 / exact, 9)


def test_one_frame_is_a_video_too(tmp_path):
    found = probe(write(tmp_path / "clip.mp4", clip(1), audio=(tone(1.0), RATE)))
    assert (found.frames, found.duration) == (1, Fraction(1, 24))


def test_remux_copies_bit_for_bit_under_new_tags(tmp_path):
    source = write(tmp_path / "a.mp4", clip(), audio=(tone(0.4), RATE), metadata={"prompt": "old"}, rate=23.976)
    target = tmp_path / "b.mp4"
    target.write_bytes(b"an older file is replaced")
    remux(source, target, TAGS)
    before, after = probe(source), probe(target)
    for name in ("width", "height", "frames", "frame_rate", "duration", "audio_sample_rate", "audio_duration"):
        assert getattr(before, name) == getattr(after, name)
    assert {key: after.metadata[key] for key in TAGS} == TAGS
    for old, new in zip(decoded(source), decoded(target), strict=True):
        assert np.array_equal(old, new)
    data = target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    remux(source, source, TAGS)
    assert source.read_bytes() == data, "onto itself"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_remux_of_silent_video(tmp_path):
    source = write(tmp_path / "a.mp4", clip(3))
    remux(source, tmp_path / "b.mp4")
    assert probe(tmp_path / "b.mp4").audio_duration is None
    assert np.array_equal(decoded(source)[0], decoded(tmp_path / "b.mp4")[0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_broken_samples_name_their_stage(tmp_path, value):
    frames, sound = clip(9), tone(0.5)
    frames[5, 3, 4, 1] = value
    with pytest.raises(LTX2Error, match="finite number; video decode produced 1 NaN or infinite"):
        write(tmp_path / "clip.mp4", frames, chunk=4)
    sound[1, 17] = value
    with pytest.raises(LTX2Error, match="vocoder produced 1 NaN or infinite"):
        write(tmp_path / "clip.mp4", clip(9), audio=(sound, RATE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 97}, "must be even; got 97x64; crop to 96x64"),
        ({"height": 0}, "must be even; got 96x0"),
        ({"crf": 52}, "crf must be 0"),
        ({"frame_rate": 0.0}, "frame rate must be above 0"),
        ({"frame_rate": math.nan}, "frame rate must be above 0"),
        ({"audio": (torch.zeros(1, 2, 100), RATE)}, "one clip of a batch"),
        ({"audio": (torch.zeros(6, 100), RATE)}, "1 or 2 channels"),
        ({"audio": (torch.zeros(2, 100), 47999)}, "resample first"),
        ({"path": Path("no/such/folder/clip.mp4")}, "create no/such/folder first"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, options, message):
    settings = {"path": tmp_path / "clip.mp4", "width": WIDTH, "height": HEIGHT, "frame_rate": 24} | options
    with pytest.raises(LTX2Error, match=message), VideoWriter(**settings) as video:
        video.write(clip(1))
    assert not list(tmp_path.iterdir())


def test_wrong_or_no_frames_are_refused(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", WIDTH, HEIGHT, 24) as video:
        video.write(clip(3))
        with pytest.raises(LTX2Error, match=r"frames must be .* got \(3, 96, 64, 3\)"):
            video.write(clip(3).transpose(1, 2))
    assert probe(tmp_path / "clip.mp4").frames == 3
    with pytest.raises(LTX2Error, match="at least one frame"), VideoWriter(tmp_path / "none.mp4", WIDTH, HEIGHT, 24):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "clip.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError, OSError])
def test_an_exception_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"an older clip")
    with pytest.raises(error, match="in the block"):  # noqa: PT012 - the block is what is tested
        with VideoWriter(path, WIDTH, HEIGHT, 24, audio=(tone(1.0), RATE)) as video:
            video.write(clip())
            raise error("in the block")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"an older clip"


def test_ctrl_c_while_writing_leaves_nothing(tmp_path):
    script = (
        "for _ in iter(int, 1):\n"
        "    with VideoWriter(folder / 'clip.mp4', 96, 64, 24) as video:\n"
        "        for _ in range(1000):\n"
        "            video.write(torch.rand(8, 64, 96, 3))\n"
        "            print('wrote', flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD + script, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for _ in range(7):
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    error = child.communicate(timeout=60)[1].decode()
    assert "KeyboardInterrupt" in error
    assert not list(tmp_path.iterdir())


_CHILD = f"""
import sys, resource
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
import conftest, torch
from ltx2.errors import LTX2Error
from ltx2.media.remux import remux
from ltx2.media.writer import VideoWriter
folder = Path(sys.argv[1])
torch.manual_seed(0)
"""


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path):
    source = tmp_path / "source.mp4"
    torch.manual_seed(0)
    size = write(source, torch.rand(9, HEIGHT, WIDTH, 3), metadata=TAGS).stat().st_size
    output = tmp_path / "output"
    output.mkdir()
    script = f"""
def write():
    with VideoWriter(folder / "clip.mp4", 96, 64, 24) as video:
        video.write(torch.rand(9, 64, 96, 3))

for limit in [0, 40, 3000, {size // 2}, {size - 2000}, {size} - 1000]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for save in (write, lambda: remux({str(source)!r}, folder / "clip.mp4", {TAGS!r})):
        try:
            save()
        except LTX2Error as error:
            print(error)
        else:
            print("no error at", limit)
        print(*folder.iterdir(), sep=", ")
"""
    child = subprocess.run([sys.executable, "-c", _CHILD + script, str(output)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    lines = child.stdout.splitlines()
    assert len(lines) == 24
    assert set(lines[1::2]) == {""}, "no file may be left"
    for line in lines[0::2]:
        assert line.startswith(f"the disk must have room for the file; writing {output}/clip.mp4 stopped after ")
        assert f"MB free in {output}; make room" in line
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_what_cannot_be_probed_is_explained(tmp_path):
    with pytest.raises(LTX2Error, match="must exist"):
        probe(tmp_path / "missing.mp4")
    (tmp_path / "text.mp4").write_text("<html>not found</html>")
    with pytest.raises(LTX2Error, match="must be a video"):
        probe(tmp_path / "text.mp4")
    with pytest.raises(LTX2Error, match="must be a video"):
        remux(tmp_path / "text.mp4", tmp_path / "copy.mp4")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "text.mp4"]
