"""Prompt enhancement: an idea, and a picture where there is one, becomes a prompt that says what is seen and heard.

Shapes: I tokens of a picture, D Gemma's hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..networks.text.encoder import TextEncoder
from .chat import Question, ask
from .cleaning import cleaned
from .generate import OnToken, Sampling, generate
from .system_prompts import IMAGE_SYSTEM_PROMPT, TEXT_SYSTEM_PROMPT


def enhance(
    encoder: TextEncoder,
    text: str,
    sampling: Sampling,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    system_prompt: str = "",
    picture: Tensor | None = None,
    on_token: OnToken = lambda done, total: None,
) -> str:
    """The prompt that Gemma makes of `text`.

    Args:
        system_prompt: what Gemma is told first; empty for our own, of which there is one for pictures.
        picture: embeddings (1, I, D) of the clip's first frame; `text` may be empty then.
        on_token: called before the first token and after each.

    Raises:
        LTX2Error: there is nothing to enhance, the question is too long, or nothing is left of the answer.
    """
    if picture is None and not text.strip():
        raise LTX2Error("a prompt to enhance must say something; got an empty text; write an idea or connect an image")
    question = _question(encoder, text, system_prompt, 0 if picture is None else picture.shape[1])
    answer = generate(encoder.gemma, question, sampling, device=device, dtype=dtype, picture=picture, on_token=on_token)
    prompt = cleaned(encoder.tokenizer.text(answer))
    if not prompt:
        raise LTX2Error(
            f"the enhanced prompt must have words; nothing was left of an answer of {len(answer)} tokens: try another "
            "seed, another system prompt or more max_tokens"
        )
    return prompt


def _question(encoder: TextEncoder, text: str, system_prompt: str, num_image_tokens: int) -> Question:
    own = IMAGE_SYSTEM_PROMPT if num_image_tokens else TEXT_SYSTEM_PROMPT
    idea = f"The idea: {text.strip()}" if text.strip() else "There is no idea; choose what happens."
    return ask(encoder.tokenizer, system_prompt.strip() or own, idea, num_image_tokens)
