"""Checks that a demo clip holds what was promised: `check_video.py CLIP.mp4` fails with what is wrong."""

from __future__ import annotations

import sys

import av
import numpy as np

SIZE = (384, 256)
FRAMES = 25
FRAME_RATE = 24
AAC_FRAME = 1024  # samples


def check(path: str) -> str:
    """One line about the clip at `path`; an AssertionError where it is not as promised."""
    with av.open(path) as file:
        kinds = sorted(stream.type for stream in file.streams)
        assert kinds == ["audio", "video"], f"one video and one audio stream, got {kinds}"
        frame_rate, sample_rate = file.streams.video[0].average_rate, file.streams.audio[0].rate
        seconds = [float(stream.duration * stream.time_base) for stream in file.streams]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    with av.open(path) as file:
        samples = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=-1)
    count, height, width, _ = frames.shape
    assert min(width - SIZE[0], height - SIZE[1]) >= 0, f"at least {SIZE[0]}x{SIZE[1]}, got {width}x{height}"
    assert count >= FRAMES, f"at least {FRAMES} frames, got {count}"
    assert frame_rate == FRAME_RATE, f"{FRAME_RATE} frames a second, got {frame_rate}"
    for duration in seconds:
        difference = abs(duration - count / FRAME_RATE)
        assert difference <= AAC_FRAME / sample_rate + 1e-6, f"streams as long as the clip, {difference:.4f} s apart"
    assert frames.std(axis=0).max() > 0, "frames that vary"
    assert np.abs(samples).max() > 0, "sound with energy"
    return f"{path}: {width}x{height}, {count} frames at {frame_rate}, {max(seconds):.3f} s"


if __name__ == "__main__":
    print(check(sys.argv[1]))
