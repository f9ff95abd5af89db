"""The LTX-2 transformer: noisy video and audio tokens, noise levels and text in; velocities out.

Shapes: B batch, P passes, T tokens, C latent channels, A position axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...config.transformer import StreamConfig, TransformerConfig
from ...layers.attention import KeysValues
from ...layers.rope import Rotary, rotary_table
from .edges import StreamEdges
from .exchange import Exchange
from .inputs import StreamInput
from .passes import EXCHANGE, PARTS, SELF, TEXT, Batch, Pass, Segment, origins, segments
from .stream import Stream, StreamConditions

States = tuple[Tensor | None, ...]
Conditions = tuple[StreamConditions | None, ...]


class Block(nn.Module):
    """Both streams attend, read, exchange, and feed forward. Either stream may be absent.

    Its parts (see passes.PARTS) run one at a time, for passes may part between them.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.video = Stream(config, config.video)
        self.audio = Stream(config, config.audio)
        self.exchange = Exchange(config)

    def forward(
        self, part: int, states: States, given: Conditions, batch: Batch, text: Sequence[Mapping[int, KeysValues]]
    ) -> States:
        """The (video, audio) states (P B, T, D) of a batch of passes behind one part. `text` is of TEXT, by prompt."""
        if part == SELF:
            return self.attend(states, given, batch.kept[:2])
        if part == EXCHANGE:
            return self.exchange_and_feed(states, given, batch.kept[2:])
        memories = tuple(
            KeysValues.stacked([known[prompt] for prompt in prompts], batch.num_clips) if known else None
            for known, prompts in zip(text, batch.prompts, strict=True)
        )
        return self.read(states, given, memories)

    def attend(self, states: States, given: Conditions, kept: Sequence[Tensor | None]) -> States:
        """The part SELF."""
        return self._each(states, given, lambda stream, x, g, n: stream.attend(x, g, kept[n]))

    def read(self, states: States, given: Conditions, memories: Sequence[KeysValues | None]) -> States:
        """The part TEXT."""
        return self._each(states, given, lambda stream, x, g, n: stream.read(x, g, memories[n]))

    def exchange_and_feed(self, states: States, given: Conditions, kept: tuple[Tensor | None, Tensor | None]) -> States:
        """The part EXCHANGE."""
        states, incoming = self.exchange(states, given, kept) if None not in given else (states, {})
        return self._each(states, given, lambda stream, x, g, n: stream.feed(x, g, incoming.pop(n, None)))

    def _each(
        self, states: States, given: Conditions, update: Callable[[Stream, Tensor, StreamConditions, int], Tensor]
    ) -> States:
        """The states of what is updated after `update`, the others as they are."""
        return tuple(
            update(stream, x, g, n) if x is not None and g is not None and g.is_updated else x
            for n, (stream, x, g) in enumerate(zip((self.video, self.audio), states, given, strict=True))
        )

    def text(self, given: Conditions, number: int, prompts: Sequence[set[int]]) -> list[dict[int, KeysValues]]:
        """Keys and values of these prompts of either modality, in this block, which is `number`."""
        return [
            {p: g.text[number][p] if g.text else stream.text(g.contexts[p], g.prompt_rows) for p in read}
            if _is_updated(g)
            else {}
            for stream, g, read in zip((self.video, self.audio), given, prompts, strict=True)
        ]


class Transformer(nn.Module):
    """The audio-video diffusion transformer of every release up to 2.5; the config says which.

    Attributes:
        recorder: What a run records its calls with; see recording.py. None records nothing.
    """

    recorder: Callable[[torch.device], Any] | None = None

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.video = StreamEdges(config, config.video, has_keyframes=config.keyframe_embedding)
        self.audio = StreamEdges(config, config.audio, has_keyframes=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))

    def rotary(self, stream: StreamConfig, positions: Tensor) -> tuple[Rotary, Rotary]:
        """(self-attention, exchange) tables for token bounds (B, A, T, 2), fp32: constant through a sampling run.

        The exchange knows time alone, at the audio stream's width and the longer of the two time ranges.
        """
        config = self.config
        centres = positions.mean(-1) if config.middle_positions else positions[..., 0]
        common = {"theta": config.rope_theta, "float64": config.rope_float64, "interleaved": config.rope_interleaved}
        longest = max(config.max_positions[0], config.audio_max_positions[0])
        own = rotary_table(centres, stream.max_positions, dim=stream.width, num_heads=stream.num_heads, **common)
        exchange = rotary_table(
            centres[:, :1],
            (longest,),
            dim=config.audio_cross_attention_dim,
            num_heads=config.audio_num_heads,
            **common,
        )
        return own, exchange

    def text(self, video: Sequence[Tensor], audio: Sequence[Tensor]) -> tuple[tuple[tuple[KeysValues, ...], ...], ...]:
        """Keys and values of contexts (1, S, D), per modality, block and context, where no noise level enters them."""
        assert not self.follows_sigma_in_text
        given = [
            [getattr(self, name).project(context) for context in contexts]
            for name, contexts in (("video", video), ("audio", audio))
        ]
        # Block after block, for blocks may be on the device one at a time.
        found = [
            tuple(
                tuple(stream.text(context, None) for context in contexts)
                for stream, contexts in zip((block.video, block.audio), given, strict=True)
            )
            for block in cast(Iterable[Block], self.blocks)
        ]
        return tuple(zip(*found, strict=True))

    @property
    def follows_sigma_in_text(self) -> bool:
        """Whether the text's keys and values change with the noise level."""
        return self.video.prompt_modulation is not None

    def forward(
        self,
        video: StreamInput | None,
        audio: StreamInput | None,
        passes: Sequence[Pass] = (Pass(),),
        passes_per_batch: int | None = None,
        num_blocks: int | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities (P B, T, C), pass after pass, of the modalities that are given; None for the others.

        Passes share what they have in common; `passes_per_batch` of them (None: all) run together. Block after block
        sees all of them, so that its text is read once and its weights arrive once. With `num_blocks` (None: all) the
        network ends behind its first so many, which says how much a prediction changes, and no more.
        """
        given, edges = (video, audio), (self.video, self.audio)
        others = (audio.sigma if audio else None, video.sigma if video else None)
        prepared = [
            edge.conditions(g, other) if g else (None, None)
            for edge, g, other in zip(edges, given, others, strict=True)
        ]
        conditions = tuple(condition for condition, _ in prepared)
        states = {0: tuple(edge.embed(g) if g else None for edge, g in zip(edges, given, strict=True))}
        depth = num_blocks or len(self.blocks)
        parents = [parent for parent, _ in origins(passes, depth)]
        for segment in segments(passes, depth, passes_per_batch or len(passes)):
            states = _joined(states, parents, segment.passes)
            states = self._through(segment, states, conditions, passes)
        states = _joined(states, parents, range(len(passes)))
        return tuple(
            torch.cat([edge.velocity(state[n], embedded, g) for state in states.values()]) if g else None
            for n, (edge, (_, embedded), g) in enumerate(zip(edges, prepared, given, strict=True))
        )

    def _through(
        self, segment: Segment, states: dict[int, States], given: Conditions, passes: Sequence[Pass]
    ) -> dict[int, States]:
        """The states of each pass behind the parts of a segment; those before it are taken out of `states`."""
        some = next(x for x in states[0] if x is not None)
        first = segment.parts[0] // len(PARTS)
        batches = [Batch.of(tuple(passes[n] for n in one), first, len(some), some.device) for one in segment.batches]
        prompts = [{passes[number].prompts[n] for number in segment.passes} for n in (0, 1)]
        stacked = [tuple(map(_stack, zip(*(states[n] for n in one), strict=True))) for one in segment.batches]
        states.clear()
        del some
        for number, part in (divmod(one, len(PARTS)) for one in segment.parts):
            block = cast(Block, self.blocks[number])
            text = block.text(given, number, prompts) if part == TEXT else ()
            for n, batch in enumerate(batches):
                stacked[n] = block(part, stacked[n], given, batch, text)
        return {
            number: one
            for numbers, pair in zip(segment.batches, stacked, strict=True)
            for number, one in zip(numbers, _split(pair, len(numbers)), strict=True)
        }


def _joined(states: dict[int, States], parents: Sequence[int], passes: Iterable[int]) -> dict[int, States]:
    """The states of these passes; one that has been the same as its parent so far has the parent's."""
    return {number: states[number if number in states else parents[number]] for number in passes}


def _stack(states: Sequence[Tensor | None]) -> Tensor | None:
    """One state, or several as one batch."""
    return states[0] if len(states) == 1 or states[0] is None else torch.cat(states)


def _split(states: States, count: int) -> Iterable[States]:
    """What `_stack` made of a number of passes, as one pair of states for each."""
    return zip(*([None] * count if x is None else x.chunk(count) for x in states), strict=True)


def _is_updated(given: StreamConditions | None) -> bool:
    return given is not None and given.is_updated
