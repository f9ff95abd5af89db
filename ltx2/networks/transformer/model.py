"""The LTX-2 transformer: noisy video and audio tokens, noise levels and text in; velocities out.

Shapes: B batch, T tokens, C latent channels, A position axes.
"""

from __future__ import annotations

from torch import Tensor, nn

from ...config.transformer import StreamConfig, TransformerConfig
from ...layers.rope import Rotary, rotary_table
from .edges import StreamEdges
from .exchange import Exchange
from .inputs import Perturbations, StreamInput
from .stream import Stream, StreamConditions


class Block(nn.Module):
    """Both streams attend, exchange, and feed forward. Either stream may be absent."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.video = Stream(config, config.video)
        self.audio = Stream(config, config.audio)
        self.exchange = Exchange(config)

    def forward(
        self,
        states: tuple[Tensor | None, Tensor | None],
        given: tuple[StreamConditions | None, StreamConditions | None],
        skipped: tuple[Tensor | None, ...],
    ) -> tuple[Tensor | None, Tensor | None]:
        """The next (video, audio) states. `skipped`: per branch of BRANCHES, the (B,) elements that leave it out."""
        streams = (self.video, self.audio)
        states = tuple(
            stream.attend(x, g, skip) if _is_updated(g) else x
            for stream, x, g, skip in zip(streams, states, given, skipped[:2], strict=True)
        )
        if None not in given:
            states = self.exchange(*states, *given, skipped[2:])
        return tuple(
            stream.feed(x, g) if _is_updated(g) else x for stream, x, g in zip(streams, states, given, strict=True)
        )


BRANCHES = ("video_self_attention", "audio_self_attention", "audio_to_video", "video_to_audio")


class Transformer(nn.Module):
    """The audio-video diffusion transformer of every release up to 2.5; the config says which."""

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

    def forward(
        self, video: StreamInput | None, audio: StreamInput | None, perturbations: Perturbations | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities (B, T, C) of the modalities that are given; None for the others."""
        perturbations = perturbations or Perturbations()
        given, edges = (video, audio), (self.video, self.audio)
        states = tuple(edge.embed(g) if g else None for edge, g in zip(edges, given, strict=True))
        others = (audio.sigma if audio else None, video.sigma if video else None)
        prepared = [
            edge.conditions(g, other) if g else (None, None)
            for edge, g, other in zip(edges, given, others, strict=True)
        ]
        conditions = tuple(condition for condition, _ in prepared)
        for number, block in enumerate(self.blocks):
            states = block(states, conditions, tuple(perturbations.skipped(branch, number) for branch in BRANCHES))
        return tuple(
            edge.velocity(x, embedded, g) if g else None
            for edge, x, (_, embedded), g in zip(edges, states, prepared, given, strict=True)
        )


def _is_updated(given: StreamConditions | None) -> bool:
    return given is not None and given.is_updated
