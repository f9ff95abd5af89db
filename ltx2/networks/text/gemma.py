"""Gemma 3 as LTX-2 reads it: every hidden state of the language model, for the real tokens of one prompt.

It also says what it takes for the next token, for prompts that it is asked to write. The layers are transformers' own.
No padding: rotary positions are relative, so the states of a prompt do not depend on what would stand before it.

Shapes: B batch, T tokens, D hidden size, L hidden states (layers + 1), V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config.text import GemmaConfig
from ...packages import transformers

# The head's weight is the embedding table; where it must be cast, this many of its rows are at a time.
_HEAD_ROWS = 16384


class Gemma3(nn.Module):
    """transformers' Gemma 3 language model."""

    def __init__(self, config: GemmaConfig) -> None:
        # Imported here, for it takes seconds and most of the library has no use for it.
        super().__init__()
        self.config = config
        self.model = transformers.Gemma3TextModel(_transformers_config(config))
        _make_derived_buffers_real(self.model, config.hidden_size)

    def forward(self, tokens: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """All hidden states (B, T, D, L) in `dtype` of token ids (B, T) without padding.

        The first is the scaled embeddings; the last is the output of the last layer after the final norm.
        """
        output = self.model(inputs_embeds=self.embed(tokens, dtype), use_cache=False, output_hidden_states=True)
        return torch.stack(output.hidden_states, dim=-1)

    def new_cache(self) -> Any:
        """An empty memory of what was read: keys and values of every layer, in local layers of the window only."""
        return transformers.DynamicCache(config=self.model.config)

    def next_logits(self, embeddings: Tensor, cache: Any, image: slice | None = None) -> Tensor:
        """Logits (V,), fp32, of the token after `embeddings` (1, T, D), which `cache` remembers from now on.

        Args:
            cache: what was read before, of `new_cache`.
            image: which of the embeddings are those of a picture: they see each other in both directions. For the
                first call only.
        """
        mask = None if image is None else self._mask(embeddings.shape[1], image, embeddings.device)
        output = self.model(
            inputs_embeds=embeddings, attention_mask=mask, past_key_values=cache, use_cache=True, return_dict=True
        )
        return self._head(output.last_hidden_state[0, -1])

    def _head(self, state: Tensor) -> Tensor:
        rows = self.model.embed_tokens.weight.split(_HEAD_ROWS)
        return torch.cat([(part.to(state) @ state).float() for part in rows])

    def _mask(self, length: int, image: slice, device: torch.device) -> dict[str, Tensor]:
        """Per kind of layer, which tokens (1, 1, T, T) a token may see: those before it, and all of its picture."""
        place = torch.arange(length, device=device)
        query, key = place[:, None], place[None]
        is_image = (place >= image.start) & (place < image.stop)
        visible = (key <= query) | (is_image[:, None] & is_image[None])
        local = visible & (query - key < self.config.sliding_window)
        return {"full_attention": visible[None, None], "sliding_attention": local[None, None]}

    def embed(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """Embeddings (B, T, D) of token ids (B, T), on their device.

        They are multiplied by sqrt(D), that factor rounded to the weights' dtype (62 in bf16): so Gemma was trained.
        """
        weight = self.model.embed_tokens.weight
        scale = torch.tensor(math.sqrt(self.config.hidden_size)).to(weight.dtype).item()
        # The table is 2 GB and a prompt reads a few of its rows: it may stay where it is.
        rows = F.embedding(tokens.to(weight.device), weight)
        return rows.to(tokens.device, dtype) * scale


def _transformers_config(config: GemmaConfig) -> Any:
    scaling = {"rope_type": "linear", "factor": config.position_factor} if config.position_factor != 1 else None
    # The names of transformers 4, which 5 understands too, though its signature does not say so.
    rotary: dict[str, Any] = {
        "rope_theta": config.theta,
        "rope_local_base_freq": config.local_theta,
        "rope_scaling": scaling,
        "sliding_window_pattern": config.global_every,
    }
    return transformers.Gemma3TextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        query_pre_attn_scalar=config.query_scale,
        sliding_window=config.sliding_window,
        layer_types=list(config.layer_types),
        max_position_embeddings=config.max_positions,
        rms_norm_eps=config.norm_eps,
        use_cache=False,
        **rotary,
    )


def _make_derived_buffers_real(model: nn.Module, hidden_size: int) -> None:
    """Create what transformers derives from the config and no file holds, for the model may be on the meta device.

    Some versions have one rotary module and some have two; each can be made again from the config that it keeps.
    """
    with torch.device("cpu"):
        for name, module in list(model.named_children()):
            if name.startswith("rotary_emb"):
                setattr(model, name, type(module)(config=module.config))
        # `Gemma3.embed` does the scaling; this only must not be left on the meta device.
        embedding = model.get_submodule("embed_tokens")
        if "embed_scale" in dict(embedding.named_buffers()):
            setattr(embedding, "embed_scale", torch.tensor(math.sqrt(hidden_size)))  # noqa: B010 - no attribute of Module
