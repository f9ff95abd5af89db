"""The predictions of one call, and how blocks share their work: planned as data, before anything runs.

Two passes are one until the first part of a block in which they differ: the later one starts there, from the other's
state. Parts are counted through all blocks: part 7 is the second (the text) of block 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import torch
from torch import Tensor

ALL_BLOCKS = None
#: What a block does: self-attention, text attention, the exchange between the modalities with the feed-forward network.
SELF, TEXT, EXCHANGE = PARTS = range(3)
BRANCHES = ("video_self_attention", "audio_self_attention", "audio_to_video", "video_to_audio")


@dataclass(frozen=True)
class Perturbation:
    """What a pass leaves out: blocks by number, or ALL_BLOCKS.

    Attributes:
        video_self_attention: Blocks whose video self-attention passes its values through.
        audio_self_attention: Likewise for audio.
        audio_to_video: Blocks in which video does not listen to audio.
        video_to_audio: Blocks in which audio does not look at video.
    """

    video_self_attention: frozenset[int] | None = frozenset()
    audio_self_attention: frozenset[int] | None = frozenset()
    audio_to_video: frozenset[int] | None = frozenset()
    video_to_audio: frozenset[int] | None = frozenset()

    def skips(self, branch: str, block: int) -> bool:
        blocks = getattr(self, branch)
        return blocks is ALL_BLOCKS or block in blocks


#: Cross-modal attention off everywhere: the two modalities do not know of each other.
ISOLATED = Perturbation(audio_to_video=ALL_BLOCKS, video_to_audio=ALL_BLOCKS)


@dataclass(frozen=True)
class Pass:
    """One prediction: which prompt (video, audio) read, by number, and what is left out."""

    prompts: tuple[int, int] = (0, 0)
    perturbation: Perturbation = Perturbation()

    def left_out(self, block: int) -> tuple[bool, ...]:
        """Per branch of BRANCHES, whether it is left out."""
        return tuple(self.perturbation.skips(branch, block) for branch in BRANCHES)

    def traits(self, part: int) -> tuple[object, ...]:
        """All that sets this pass apart in a part of a block."""
        block, kind = divmod(part, len(PARTS))
        left_out = self.left_out(block)
        return {SELF: left_out[:2], TEXT: self.prompts, EXCHANGE: left_out[2:]}[kind]

    def leaves(self, other: Pass, num_parts: int) -> int:
        """The first part in which this pass differs from another; `num_parts` where none does."""
        return next((part for part in range(num_parts) if self.traits(part) != other.traits(part)), num_parts)


def origins(passes: Sequence[Pass], num_layers: int) -> tuple[tuple[int, int], ...]:
    """Per pass: the earlier pass that it is the same as for longest, and the part where it leaves that one."""
    found = [(0, 0)]
    for number in range(1, len(passes)):
        parts = [passes[number].leaves(other, num_layers * len(PARTS)) for other in passes[:number]]
        found.append((parts.index(max(parts)), max(parts)))
    return tuple(found)


@dataclass(frozen=True)
class Segment:
    """Parts that all run the same passes, each leaving out the same: their numbers, and the passes, batch by batch."""

    parts: tuple[int, ...]
    batches: tuple[tuple[int, ...], ...]

    @property
    def passes(self) -> tuple[int, ...]:
        """All passes that run here."""
        return tuple(number for batch in self.batches for number in batch)


def segments(passes: Sequence[Pass], num_layers: int, passes_per_batch: int) -> tuple[Segment, ...]:
    """All parts in the order they run. A pass joins in where it leaves its origin."""
    starts = [start for _, start in origins(passes, num_layers)]

    def running(part: int) -> tuple[tuple[int, tuple[bool, ...]], ...]:
        block = part // len(PARTS)
        return tuple((n, one.left_out(block)) for n, one in enumerate(passes) if starts[n] <= part)

    found = []
    for together, parts in groupby(range(num_layers * len(PARTS)), running):
        numbers = tuple(number for number, _ in together)
        batches = tuple(numbers[i : i + passes_per_batch] for i in range(0, len(numbers), passes_per_batch))
        found.append(Segment(tuple(parts), batches))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Batch:
    """Passes that run together: pass after pass, each with all clips.

    Attributes:
        num_clips: Rows of each pass.
        prompts: Which prompt each pass reads, for each modality.
        kept: Per branch of BRANCHES, the rows that do not leave it out; None for all.
    """

    num_clips: int
    prompts: tuple[tuple[int, ...], ...]
    kept: tuple[Tensor | None, ...]

    @classmethod
    @cache  # What is brought to a GPU from step to step holds it up, and what a CUDA graph reads must stay.
    def of(cls, passes: tuple[Pass, ...], block: int, num_clips: int, device: torch.device) -> Batch:
        rows = torch.arange(len(passes) * num_clips).view(len(passes), num_clips)
        left_out = torch.tensor([one.left_out(block) for one in passes])
        kept = tuple(
            None if not skipped.any() else rows[~skipped].flatten().to(device) for skipped in left_out.unbind(1)
        )
        return cls(num_clips, tuple(zip(*(one.prompts for one in passes), strict=True)), kept)
