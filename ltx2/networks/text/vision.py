"""Gemma 3's eye: a SigLIP vision tower, and what makes soft tokens of its output that Gemma reads among words.

Attributes have the names of the released files.

Shapes: B batch, S side of the picture in pixels, P patches, D width of the tower, I soft tokens, T Gemma's hidden size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config.vision import VisionConfig
from ...packages import rearrange


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 over the last axis, then weight and bias."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight.to(x), self.bias.to(x), self.eps)


class Embeddings(nn.Module):
    """Patches of pixels with a learned position each."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, size, stride=size)
        self.position_embedding = nn.Embedding(config.patches_per_side**2, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, P, D)."""
        patches = rearrange(self.patch_embedding(pixels), "b d h w -> b (h w) d")
        return patches + self.position_embedding.weight.to(patches)


class SelfAttention(nn.Module):
    """Plain multi-head attention of all patches to all."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, D) to (B, P, D)."""
        query, key, value = (
            rearrange(layer(x), "b p (h c) -> b h p c", h=self.num_heads)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(rearrange(attended, "b h p c -> b p (h c)"))


class FeedForward(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Layer(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = LayerNorm(config.hidden_size, config.norm_eps)
        self.self_attn = SelfAttention(config)
        self.layer_norm2 = LayerNorm(config.hidden_size, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        """Update x (B, P, D)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """The layers of the tower."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class VisionTower(nn.Module):
    """SigLIP's vision transformer, without the head that pools its output."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = LayerNorm(config.hidden_size, config.norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) in [-1, 1] to (B, P, D), row by row."""
        return self.post_layernorm(self.encoder(self.embeddings(pixels)))


class SoftEmbeddingNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * (1 + weight) over the last axis, in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        weight = 1 + self.weight.to(x.device, torch.float32)
        return F.rms_norm(x.float(), x.shape[-1:], weight, self.eps).to(x)


class Projector(nn.Module):
    """Squares of patches averaged to one soft token each, as wide as Gemma's embeddings."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.mm_soft_emb_norm = SoftEmbeddingNorm(config.hidden_size, config.norm_eps)
        self.mm_input_projection_weight = nn.Parameter(torch.empty(config.hidden_size, config.text_hidden_size))

    def forward(self, patches: Tensor) -> Tensor:
        """(B, P, D) to (B, I, T)."""
        side, tokens = self.config.patches_per_side, self.config.tokens_per_side
        grid = rearrange(patches, "b (h w) d -> b d h w", h=side)
        pooled = rearrange(F.avg_pool2d(grid, side // tokens), "b d h w -> b (h w) d")
        return self.mm_soft_emb_norm(pooled) @ self.mm_input_projection_weight.to(pooled)


class GemmaVision(nn.Module):
    """Pictures to the soft tokens that Gemma reads."""

    def __init__(self, tower: VisionTower, projector: Projector) -> None:
        super().__init__()
        self.tower = tower
        self.projector = projector

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) in [-1, 1] to soft tokens (B, I, T), in the dtype of the pixels."""
        return self.projector(self.tower(pixels))
