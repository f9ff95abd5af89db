"""Clips that go through a network in chunks of a few frames: exact, and flat in the length of the clip.

Each layer hands its frames on before it gets more, so no more is in memory than one chunk at each level of resolution
and what layers remember: two frames each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..networks.video_vae.past import Past, Step

#: A chunk of frames (B, C, n, H, W), alone in a list, so that whoever takes it out holds it alone; whether it is last.
Chunk = tuple[list[Tensor], bool]

#: (frames of a chunk, pixels of a frame up to which it has so many): 6 of 1920x1088, 2 where time must double at least.
#: More than 16 pay only where frames are so small that what calls a layer takes longer than the layer.
AT_ONCE = ((24, 2**17), *((frames, 13 * 2**20 // frames) for frames in range(16, 2, -2)), (2, None))


def frames_at_once(height: int, width: int) -> int:
    """Frames of a chunk, at each level of a decoder, for a clip of height x width pixels."""
    return next(frames for frames, most in AT_ONCE if most is None or height * width <= most)


def stream(
    steps: Sequence[Step], chunks: Iterator[Chunk], most: int | None = None, store: torch.device | None = None
) -> Iterator[Tensor]:
    """The clip of `chunks` after all `steps`, chunk by chunk, as it would be whole.

    `most`: frames that a step gives at once; larger chunks are split. `store`: where layers keep what they remember
    (None: where the clip is).
    """
    for step in steps:
        chunks = _through(step, chunks, most, Past(store=store))
    for held, _ in chunks:
        yield held.pop()


def slices(clip: Tensor, most: int) -> Iterator[Chunk]:
    """A clip (B, C, F, H, W) in chunks of `most` frames."""
    parts = clip.split(most, dim=2)
    for number, part in enumerate(parts, 1):
        yield [part], number == len(parts)


def evenly(frames: int, most: int | None, growth: int = 1) -> int:
    """Frames of each piece of a chunk for a step that gives `growth` times as many, at most `most`.

    As few pieces as can be and all about as long: a short one takes a step nearly as long as a full one.
    """
    if most is None:
        return frames
    return math.ceil(frames / math.ceil(frames / (most // growth)))


def _through(step: Step, chunks: Iterator[Chunk], most: int | None, past: Past) -> Iterator[Chunk]:
    for held, is_last in chunks:
        chunk = held.pop()
        pieces = list(chunk.split(evenly(chunk.shape[2], most, step.growth), dim=2))
        del chunk
        while pieces:
            past.is_last = is_last and len(pieces) == 1
            given = [step.run(pieces.pop(0), past)]
            past.given += given[0].shape[2]
            if given[0].shape[2]:
                yield given, past.is_last
