"""Questions to Gemma: its template, token by token, with and without a picture."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.text.tokenizer import PromptTokenizer
from ltx2.prompting.chat import MAX_QUESTION, ask


@pytest.fixture(scope="module")
def released(tiny_gemma) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_gemma.folder / "tokenizer.json"))


def test_one_turn_of_the_user_and_the_opening_of_the_answer(tiny_gemma, released):
    question = ask(tiny_gemma.tokenizer, " Be brief. \n", "\na red fox ")
    text = "<bos><start_of_turn>user\nBe brief.\n\na red fox<end_of_turn>\n<start_of_turn>model\n"
    assert question.tokens.tolist() == [released.encode(text, add_special_tokens=False).ids]
    assert question.image is None
    assert question.stop == {released.token_to_id("<end_of_turn>"), released.token_to_id("<eos>")}


def test_a_picture_has_its_places_between_system_prompt_and_text(tiny_gemma, released):
    question = ask(tiny_gemma.tokenizer, "Be brief.", "a red fox", 4)
    text = (
        "<bos><start_of_turn>user\nBe brief.\n\n\n\n<start_of_image><pad><pad><pad><pad><end_of_image>\n\n"
        "a red fox<end_of_turn>\n<start_of_turn>model\n"
    )
    assert question.tokens.tolist() == [released.encode(text, add_special_tokens=False).ids]
    assert question.tokens[0, question.image].tolist() == [0] * 4
    before, after = question.image.start - 1, question.image.stop
    assert question.tokens[0, before] == released.token_to_id("<start_of_image>")
    assert question.tokens[0, after] == released.token_to_id("<end_of_image>")


def test_an_answer_is_spelled_without_special_tokens(tiny_gemma):
    tokenizer = tiny_gemma.tokenizer
    ids = tokenizer.ids("a red fox, caf\u00e9!")
    assert tokenizer.text([tokenizer.special("<bos>"), *ids, tokenizer.special("<eos>")]) == "a red fox, caf\u00e9!"


def test_questions_that_are_too_long_are_refused(tiny_gemma):
    with pytest.raises(LTX2Error, match=f"at most {MAX_QUESTION} tokens; got 9.*shorten"):
        ask(tiny_gemma.tokenizer, "Be brief.", "fox " * 9000)


def test_a_tokenizer_without_turns_is_refused(released):
    text = released.to_str().replace("<end_of_turn>", "<other>")
    tokenizer = PromptTokenizer.from_json(text)
    with pytest.raises(ModelFileError, match=r"it has no <end_of_turn> token\. Use the tokenizer\.json"):
        ask(tokenizer, "Be brief.", "a red fox")
