"""Text connectors: a small transformer per modality, from a prompt's features to the context the transformer reads.

A context always has the same length. What the prompt leaves free is filled with learned registers, chosen by absolute
position, and everything attends to everything: the transformer needs no text mask.

Shapes: B batch, T tokens of the prompt (no padding), S context length, D Gemma's hidden size, L hidden states,
V/A video/audio width, C width of a connector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...config.text import ConnectorsConfig
from ...errors import LTX2Error
from ...layers.attention import Attention
from ...layers.feed_forward import FeedForward
from ...layers.norms import rms_norm
from ...layers.rope import Rotary, rotary_table
from .features import projection

CONTEXT_LENGTH = 1024


class ConnectorBlock(nn.Module):
    """x += attention(rms(x)); x += feed_forward(rms(x))."""

    def __init__(self, config: ConnectorsConfig, num_heads: int, head_dim: int) -> None:
        super().__init__()
        dim = num_heads * head_dim
        self.eps = config.norm_eps
        self.attention = Attention(
            dim, dim, num_heads=num_heads, head_dim=head_dim, gated=config.is_gated, eps=config.norm_eps
        )
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        """Update x (B, S, C)."""
        x = x + self.attention(rms_norm(x, self.eps), rotary=rotary)
        return x + self.feed_forward(rms_norm(x, self.eps))


class Connector(nn.Module):
    """The connector of one modality."""

    def __init__(self, config: ConnectorsConfig, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.config = config
        self.num_heads = num_heads
        self.dim = num_heads * head_dim
        self.registers = nn.Parameter(torch.empty(config.num_registers, self.dim))
        self.blocks = nn.ModuleList(ConnectorBlock(config, num_heads, head_dim) for _ in range(config.num_layers))

    def forward(self, features: Tensor, length: int = CONTEXT_LENGTH) -> Tensor:
        """Features of the prompt's tokens (B, T, C) to a context (B, length, C)."""
        x = self._filled(features, length)
        rotary = self._rotary(length, x.device).to(x)
        for block in self.blocks:
            x = block(x, rotary)
        return rms_norm(x, self.config.norm_eps)

    def _filled(self, features: Tensor, length: int) -> Tensor:
        """The features (B, T, C), followed by register j mod R at every free position j."""
        batch, tokens, _ = features.shape
        if tokens > length or length % len(self.registers):
            raise LTX2Error(
                f"a context holds {length} tokens and must be a multiple of the {len(self.registers)} registers; "
                f"got a prompt of {tokens} tokens. Shorten the prompt"
            )
        registers = self.registers.to(features).tile(length // len(self.registers), 1)
        free = registers[tokens:].expand(batch, -1, -1)
        return torch.cat((features, free), dim=1)

    def _rotary(self, length: int, device: torch.device) -> Rotary:
        positions = torch.arange(length, dtype=torch.float32, device=device)
        return rotary_table(
            positions[None, None],
            self.config.max_positions,
            dim=self.dim,
            num_heads=self.num_heads,
            theta=self.config.theta,
            float64=self.config.frequencies_precision == "float64",
            interleaved=self.config.rope_type == "interleaved",
        )


class TextConnectors(nn.Module):
    """From Gemma's hidden states to the video and audio contexts of one prompt."""

    def __init__(self, config: ConnectorsConfig) -> None:
        super().__init__()
        self.config = config
        self.projection = projection(config)
        self.video = Connector(config, config.num_heads, config.head_dim)
        self.audio = Connector(config, config.audio_num_heads, config.audio_head_dim)

    def forward(self, states: Tensor, length: int = CONTEXT_LENGTH) -> tuple[Tensor, Tensor]:
        """Hidden states of real tokens only (B, T, D, L) to a video context (B, length, V) and an audio one (.., A).

        Prompts of one batch have the same number of tokens: padding would take part in 2.0's normalisation.
        """
        video, audio = self.projection(states)
        return self.video(video, length), self.audio(audio, length)
