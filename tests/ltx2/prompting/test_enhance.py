"""From an idea to a prompt: which system prompt is used, and what is refused."""

from __future__ import annotations

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.prompting.enhance import enhance
from ltx2.prompting.generate import Sampling
from ltx2.prompting.system_prompts import IMAGE_SYSTEM_PROMPT, TEXT_SYSTEM_PROMPT

CPU = torch.device("cpu")
SAMPLING = Sampling(max_tokens=12, seed=1)


def enhanced(tiny, text="a red fox", sampling=SAMPLING, **options):
    return enhance(tiny.encoder, text, sampling, device=CPU, **options)


@pytest.fixture(scope="module")
def picture(tiny_gemma, pixels):
    return tiny_gemma.vision(pixels)


def test_an_idea_becomes_a_prompt(tiny_gemma):
    prompt = enhanced(tiny_gemma)
    assert prompt == prompt.strip() != ""
    assert enhanced(tiny_gemma) == prompt
    assert enhanced(tiny_gemma, text="a city at night") != prompt


def test_a_picture_changes_the_prompt_and_needs_no_idea(tiny_gemma, picture):
    prompt = enhanced(tiny_gemma, picture=picture)
    assert prompt != enhanced(tiny_gemma)
    assert prompt != enhanced(tiny_gemma, picture=-picture)
    assert enhanced(tiny_gemma, text="", picture=picture)


def test_an_empty_system_prompt_stands_for_our_own(tiny_gemma, picture):
    assert enhanced(tiny_gemma, system_prompt=" \n") == enhanced(tiny_gemma, system_prompt=TEXT_SYSTEM_PROMPT)
    with_picture = enhanced(tiny_gemma, picture=picture)
    assert with_picture == enhanced(tiny_gemma, picture=picture, system_prompt=IMAGE_SYSTEM_PROMPT)
    assert enhanced(tiny_gemma, system_prompt="Be brief.") != enhanced(tiny_gemma)


def test_our_system_prompts_fit_into_the_room_that_is_counted_for_them(tiny_gemma):
    # Gemma needs about a quarter of a token per character of English; a picture takes 256.
    assert max(len(TEXT_SYSTEM_PROMPT), len(IMAGE_SYSTEM_PROMPT)) / 4 + 256 < 1024


def test_nothing_to_enhance_is_refused(tiny_gemma):
    with pytest.raises(LTX2Error, match="must say something; got an empty text; write an idea or connect an image"):
        enhanced(tiny_gemma, text=" \n")


class Speechless:
    """A tokenizer that spells nothing that could be a word."""

    def __init__(self, tokenizer):
        self.special, self.ids = tokenizer.special, tokenizer.ids

    def text(self, ids):
        return '"..."'


def test_an_answer_without_words_is_refused(tiny_gemma):
    encoder = tiny_gemma.encoder
    encoder.tokenizer = Speechless(tiny_gemma.tokenizer)
    with pytest.raises(
        LTX2Error, match="must have words; nothing was left of an answer of 12 tokens: try another seed"
    ):
        enhance(encoder, "a red fox", SAMPLING, device=CPU)
