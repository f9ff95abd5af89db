"""A question to Gemma as token ids: one turn of the user, with a picture in it or not, and the opening of the answer.

Shapes: T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..networks.text.tokenizer import BOS, PromptTokenizer

MAX_QUESTION = 8192
_START, _END, _EOS = "<start_of_turn>", "<end_of_turn>", "<eos>"
_IMAGE_START, _IMAGE_END, _PLACEHOLDER = "<start_of_image>", "<end_of_image>", "<pad>"


@dataclass(frozen=True, eq=False)
class Question:
    """Token ids (1, T), what of them stands for the picture, and the ids that end an answer."""

    tokens: Tensor
    image: slice | None
    stop: frozenset[int]


def ask(tokenizer: PromptTokenizer, system_prompt: str, text: str, num_image_tokens: int = 0) -> Question:
    """The question as Gemma was taught to read it, where a system prompt is the beginning of the user's turn.

    Args:
        num_image_tokens: how many places to keep for a picture, between the system prompt and the text.

    Raises:
        ModelFileError: the tokenizer lacks the tokens of turns or pictures.
        LTX2Error: the question is too long.
    """
    special, ids = tokenizer.special, tokenizer.ids
    before = [special(BOS), special(_START)]
    image = None
    if num_image_tokens:
        # Two line breaks end the system prompt; two stand around a picture.
        before += [*ids(f"user\n{system_prompt.strip()}\n\n\n\n"), special(_IMAGE_START)]
        image = slice(len(before), len(before) + num_image_tokens)
        before += [*[special(_PLACEHOLDER)] * num_image_tokens, special(_IMAGE_END), *ids(f"\n\n{text.strip()}")]
    else:
        before += ids(f"user\n{system_prompt.strip()}\n\n{text.strip()}")
    tokens = [*before, special(_END), *ids("\n"), special(_START), *ids("model\n")]
    if len(tokens) > MAX_QUESTION:
        raise LTX2Error(
            f"a prompt to enhance and its system prompt must have at most {MAX_QUESTION} tokens; got {len(tokens)}: "
            "shorten them"
        )
    return Question(torch.tensor([tokens]), image, frozenset((special(_END), special(_EOS))))
