"""One modality's way into the transformer and out of it.

Shapes: B batch, T tokens, C latent channels, S context tokens, D width, U unique noise levels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config.transformer import StreamConfig, TransformerConfig
from ...layers.modulation import AdaLayerNorm, add_scaled
from .inputs import StreamInput
from .stream import StreamConditions


class CaptionProjection(nn.Module):
    """linear_2(gelu_tanh(linear_1(context))), inside the transformer in 2.0 only."""

    def __init__(self, config: TransformerConfig, stream: StreamConfig) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(config.caption_channels, stream.width)
        self.linear_2 = nn.Linear(stream.width, stream.width)

    def forward(self, context: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(context), approximate="tanh"))


class StreamEdges(nn.Module):
    """Tokens to hidden states, noise levels to AdaLN rows, and hidden states back to a velocity."""

    def __init__(self, config: TransformerConfig, stream: StreamConfig, *, has_keyframes: bool) -> None:
        super().__init__()
        width = stream.width
        has_prompt_rows = config.text_modulation and config.prompt_modulation
        self.config = config
        self.patchify = nn.Linear(stream.in_channels, width)
        self.keyframe_embedding = nn.Parameter(torch.empty(1, width)) if has_keyframes else None
        self.caption_projection = CaptionProjection(config, stream) if config.caption_projection else None
        self.modulation = AdaLayerNorm(width, config.num_rows)
        self.prompt_modulation = AdaLayerNorm(width, 2) if has_prompt_rows else None
        self.exchange_modulation = AdaLayerNorm(width, 4)
        self.exchange_gate = AdaLayerNorm(width, 1)
        self.output_table = nn.Parameter(torch.empty(2, width))
        self.unpatchify = nn.Linear(width, stream.out_channels)

    def embed(self, given: StreamInput) -> Tensor:
        """Tokens (B, T, C) -> hidden states (B, T, D)."""
        x = self.patchify(given.latent)
        if self.keyframe_embedding is not None and given.keyframes is not None:
            x = x + (given.keyframes > 0).to(x) * self.keyframe_embedding.to(x)
        return x

    def conditions(self, given: StreamInput, other_sigma: Tensor | None) -> tuple[StreamConditions, Tensor]:
        """What the blocks need of the noise levels and the text, and the embedding (U, D) for the way out.

        Scales and shifts follow each token's own level; the gate of what comes in from the other modality, and the
        text modulation, follow the scalar sigma (the gate that of the *other* modality).
        """
        dtype, scale = given.latent.dtype, self.config.timestep_scale
        timesteps = given.levels.values * scale
        rows, embedded = self.modulation(timesteps, dtype)
        prompt_rows = exchange_rows = exchange_gate = None
        if self.prompt_modulation is not None:
            prompt_rows, _ = self.prompt_modulation(given.sigma * scale, dtype)
        if other_sigma is not None:
            exchange_rows, _ = self.exchange_modulation(timesteps, dtype)
            exchange_gate, _ = self.exchange_gate(other_sigma * self.config.exchange_timestep_scale, dtype)
        conditions = StreamConditions(
            levels=given.levels,
            rows=rows,
            contexts=() if given.text else tuple(map(self.project, given.contexts)),
            prompt_rows=prompt_rows,
            exchange_rows=exchange_rows,
            exchange_gate=exchange_gate,
            rotary=given.rotary,
            exchange_rotary=given.exchange_rotary,
            attention_bias=given.attention_bias,
            is_updated=given.is_updated,
            text=given.text,
        )
        return conditions, embedded

    def project(self, context: Tensor) -> Tensor:
        """The context as the blocks read it."""
        return context if self.caption_projection is None else self.caption_projection(context)

    def velocity(self, x: Tensor, embedded: Tensor, given: StreamInput) -> Tensor:
        """Hidden states (B, T, D) -> velocity (B, T, C)."""
        shift, scale = (embedded[:, None] + self.output_table.to(embedded)).unbind(1)
        # A mean-subtracting LayerNorm, unlike every other norm here.
        normed = F.layer_norm(x, x.shape[-1:], eps=self.config.norm_eps)
        return self.unpatchify(add_scaled(shift, normed, 1 + scale, given.levels))
