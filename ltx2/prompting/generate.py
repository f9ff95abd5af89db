"""Gemma's answer to a question, token by token.

Shapes: T tokens of the question, I tokens of a picture, D Gemma's hidden size, V vocabulary.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..networks.text.gemma import Gemma3
from .chat import Question

logger = logging.getLogger("ltx2")

#: Called with (tokens so far, most tokens); raises when the user has cancelled.
OnToken = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `top_k` and `top_p` are those of Gemma 3's generation config.

    Attributes:
        max_tokens: of the answer; 1 or more.
        temperature: what logits are divided by; 0 takes the likeliest token each time.
        seed: of the draws, which are made on the CPU.
        top_k: only so many of the likeliest tokens are drawn from.
        top_p: of these, the fewest that have this share of the probability.
    """

    max_tokens: int = 512
    temperature: float = 0.7
    seed: int = 10
    top_k: int = 64
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise LTX2Error(f"an answer must have at least 1 token; got max_tokens {self.max_tokens}; take 512")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise LTX2Error(f"temperature must be 0 (no chance) or more; got {self.temperature}; the release has 0.7")


@torch.no_grad()
def generate(
    gemma: Gemma3,
    question: Question,
    sampling: Sampling,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    picture: Tensor | None = None,
    on_token: OnToken = lambda done, total: None,
) -> list[int]:
    """The token ids of the answer, without the one that ends it.

    Args:
        picture: embeddings (1, I, D) of the picture that the question keeps places for.
    """
    embeddings = gemma.embed(question.tokens.to(device), dtype)
    if picture is not None:
        assert question.image is not None, "the question must have places for the picture"
        embeddings[:, question.image] = picture.to(embeddings)
    generator = torch.Generator().manual_seed(sampling.seed)
    cache = gemma.new_cache()
    answer: list[int] = []
    on_token(0, sampling.max_tokens)
    logits = gemma.next_logits(embeddings, cache, question.image)
    while (token := choose(logits, sampling, generator)) not in question.stop:
        answer.append(token)
        on_token(len(answer), sampling.max_tokens)
        if len(answer) == sampling.max_tokens:
            logger.warning("the answer is cut off at %d tokens; raise max_tokens for the rest", len(answer))
            break
        logits = gemma.next_logits(gemma.embed(torch.tensor([[token]], device=device), dtype), cache)
    return answer


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The id of the next token, drawn on the CPU from `logits` (V,)."""
    if not bool(torch.isfinite(logits).all()):
        raise LTX2Error("the text encoder must give finite numbers; it gave NaN or infinity; check its files")
    if sampling.temperature == 0:
        return int(logits.argmax())
    likeliest = logits.cpu().topk(min(sampling.top_k, logits.numel()))
    shares = (likeliest.values.double() / sampling.temperature).softmax(0)
    before = shares.cumsum(0) - shares
    shares = shares * (before < sampling.top_p)
    point = torch.rand((), generator=generator, dtype=torch.float64) * shares.sum()
    place = torch.searchsorted(shares.cumsum(0), point, right=True)
    return int(likeliest.indices[place.clamp(max=int(shares.count_nonzero()) - 1)])
