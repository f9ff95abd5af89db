"""One prompt from tokens to the contexts that the transformer reads.

Shapes: T tokens, S context length, V/A width of the video/audio context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .connector import CONTEXT_LENGTH, TextConnectors
from .gemma import Gemma3
from .tokenizer import PromptTokenizer


class TextEncoder(nn.Module):
    """A prompt's whole way: tokenizer, Gemma, connectors."""

    def __init__(self, tokenizer: PromptTokenizer, gemma: Gemma3, connectors: TextConnectors) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.gemma = gemma
        self.connectors = connectors

    def forward(
        self, prompt: str, *, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Video context (1, S, V) and audio context (1, S, A) of `prompt`, on `device` in `dtype`."""
        tokens = self.tokenizer(prompt).to(device)
        return encode_prompt(self.gemma, self.connectors, tokens, dtype=dtype)


@torch.no_grad()
def encode_prompt(
    gemma: Gemma3,
    connectors: TextConnectors,
    tokens: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    length: int = CONTEXT_LENGTH,
) -> tuple[Tensor, Tensor]:
    """Video context (1, S, V) and audio context (1, S, A) of token ids (1, T).

    Computed in `dtype` on the device of `tokens`, from the real tokens alone: their number sets the cost, not S.
    """
    return connectors(gemma(tokens, dtype), length)
