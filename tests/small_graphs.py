"""Shipped workflows made small: what to set so that each takes seconds, the files they read, and what comes out."""

from __future__ import annotations

import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from ltx2.media.writer import VideoWriter

#: {workflow: "small" (a key of `SMALL`), "set" ({"title.input": value}), "release", and "frames" or "seconds"}.
EXPECTED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "workflows" / "expected.json").read_text())
SMALL = {
    "clip": {"Canvas.width": 128, "Canvas.height": 128, "Canvas.frames": 9, "Canvas.frame_rate": 24.0},
    "sound": {"Canvas.frames": 9, "Canvas.frame_rate": 24.0},
}
SOURCE_FRAMES, SOURCE_RATE = 25, 24000


def settings(name: str) -> dict[tuple[str, str], Any]:
    """{(title of a node, name of an input): value} that makes the shipped workflow `name` small."""
    expected = EXPECTED[name]
    changes = {**SMALL.get(expected.get("small", ""), {}), **expected.get("set", {})}
    return {(title, key): value for (title, _, key), value in ((k.rpartition("."), v) for k, v in changes.items())}


def write_inputs(folder: Path) -> None:
    """The files that shipped graphs name: a picture, a clip of 25 frames with sound, and a sound of 2 s."""
    picture = np.indices((90, 160)).sum(axis=0).astype(np.uint8)
    Image.fromarray(picture).convert("RGB").save(folder / "example.png")
    tone = torch.sin(torch.arange(SOURCE_RATE * 2) * 0.05).repeat(2, 1) * 0.3
    with VideoWriter(folder / "example.mp4", 128, 128, 24, audio=(tone, SOURCE_RATE)) as writer:
        rows = torch.linspace(0, 1, 128)[:, None, None]
        for frame in range(SOURCE_FRAMES):
            writer.write((rows.roll(frame, 0) * torch.ones(128, 128, 3))[None])
    with wave.open(str(folder / "example.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SOURCE_RATE)
        file.writeframes((tone.T * 32767).to(torch.int16).numpy().tobytes())


@dataclass(frozen=True)
class Probe:
    """What is in a file: (width, height, frames per second, frames) of the video, None without; the sound; the tags."""

    video: tuple[int, int, float, int] | None
    seconds: float
    sample_rate: int
    tags: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path) -> Probe:
        """Decodes all of the file, which has one stream of sound and at most one of video."""
        with av.open(str(path)) as file:
            (audio,) = file.streams.audio
            seconds, rate = sum(frame.samples for frame in file.decode(audio)) / audio.rate, audio.rate
            tags = {key: json.loads(text) for key, text in file.metadata.items() if key in ("prompt", "workflow")}
        with av.open(str(path)) as file:
            if not file.streams.video:
                return cls(None, seconds, rate, tags)
            (video,) = file.streams.video
            size = (video.width, video.height, float(video.average_rate))
            return cls((*size, sum(1 for _ in file.decode(video))), seconds, rate, tags)

    def check(self, name: str) -> None:
        """Assert that this is what a small run of the shipped workflow `name` gives."""
        expected = EXPECTED[name]
        if "seconds" in expected:
            assert self.video is None
            assert abs(self.seconds - expected["seconds"]) <= 0.04
        else:
            assert self.video == (128, 128, 24, expected["frames"])
            assert abs(self.seconds - expected["frames"] / 24) <= 2 * 1024 / self.sample_rate
