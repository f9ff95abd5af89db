"""Answers of the tiny Gemma equal transformers' own; how tokens are chosen, cut off and cancelled."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.prompting.chat import Question, ask
from ltx2.prompting.generate import Sampling, choose, generate

CPU = torch.device("cpu")
GREEDY = Sampling(max_tokens=24, temperature=0.0)
IMAGE_TOKENS = 4


def answer(tiny, question, sampling=GREEDY, **options):
    return generate(tiny.gemma, question, sampling, device=CPU, **options)


def first_logits(tiny, question, picture=None):
    embeddings = tiny.gemma.embed(question.tokens, torch.float32)
    if picture is not None:
        embeddings[:, question.image] = picture
    with torch.no_grad():
        return tiny.gemma.next_logits(embeddings, tiny.gemma.new_cache(), question.image)


def theirs(question, model, pixels=None):
    """The inputs of transformers' model for the same question."""
    if pixels is None:
        return {"input_ids": question.tokens}
    tokens, kinds = question.tokens.clone(), torch.zeros_like(question.tokens)
    tokens[:, question.image] = model.config.image_token_id
    kinds[:, question.image] = 1
    return {"input_ids": tokens, "token_type_ids": kinds, "pixel_values": pixels}


def their_answer(oracle, question, pixels=None, max_tokens=GREEDY.max_tokens):
    inputs = theirs(question, oracle, pixels)
    inputs["attention_mask"] = torch.ones_like(question.tokens)
    options = {"do_sample": False, "eos_token_id": sorted(question.stop), "pad_token_id": 0, "top_k": None}
    tokens = oracle.generate(**inputs, max_new_tokens=max_tokens, **options)
    return [token for token in tokens[0, question.tokens.shape[1] :].tolist() if token not in question.stop]


@pytest.fixture(scope="module")
def picture(tiny_gemma, pixels):
    return tiny_gemma.vision(pixels)


@pytest.fixture(scope="module")
def question(tiny_gemma) -> Question:
    return ask(tiny_gemma.tokenizer, "Write a prompt.", "a red fox in the snow")


@pytest.fixture(scope="module")
def question_with_picture(tiny_gemma) -> Question:
    return ask(tiny_gemma.tokenizer, "Write a prompt.", "the fox looks up", IMAGE_TOKENS)


@torch.no_grad()
def test_logits_equal_those_of_transformers(tiny_gemma, oracle, question):
    expected = oracle(**theirs(question, oracle)).logits[0, -1]
    torch.testing.assert_close(first_logits(tiny_gemma, question), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_logits_behind_a_picture_equal_those_of_transformers(
    tiny_gemma, oracle, question_with_picture, pixels, picture
):
    expected = oracle(**theirs(question_with_picture, oracle, pixels)).logits[0, -1]
    logits = first_logits(tiny_gemma, question_with_picture, picture)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    # Read as words are, one after the other, the same picture says something else.
    in_order = first_logits(tiny_gemma, replace(question_with_picture, image=slice(0, 0)), torch.zeros(1, 0, 64))
    assert (logits - in_order).abs().max() > 1e-2


def test_the_likeliest_answer_is_that_of_transformers(tiny_gemma, oracle, question):
    mine = answer(tiny_gemma, question)
    assert mine == their_answer(oracle, question)
    assert len(set(mine)) > 2


def test_the_likeliest_answer_to_a_picture_is_that_of_transformers(
    tiny_gemma, oracle, question_with_picture, pixels, picture
):
    mine = answer(tiny_gemma, question_with_picture, picture=picture)
    assert mine == their_answer(oracle, question_with_picture, pixels)
    assert mine != answer(tiny_gemma, question_with_picture, picture=-picture)


def test_questions_longer_than_the_local_window(tiny_gemma, oracle):
    question = ask(tiny_gemma.tokenizer, "Write a prompt.", "a fox and a wolf " * 400)
    assert question.tokens.shape[1] > tiny_gemma.gemma.config.sliding_window + 100
    few = replace(GREEDY, max_tokens=6)
    assert answer(tiny_gemma, question, few) == their_answer(oracle, question, max_tokens=6)


def test_the_same_seed_gives_the_same_answer_and_another_one_another(tiny_gemma, question):
    sampling = Sampling(max_tokens=16, seed=3)
    first = answer(tiny_gemma, question, sampling)
    torch.rand(5)  # the global generator plays no part
    assert answer(tiny_gemma, question, sampling) == first
    others = [answer(tiny_gemma, question, replace(sampling, seed=seed)) for seed in (4, 5)]
    assert first not in others
    assert others[0] != others[1]


def test_an_answer_ends_at_its_stop_token(tiny_gemma, question):
    whole = answer(tiny_gemma, question)
    stop = whole[5]
    ended = answer(tiny_gemma, replace(question, stop=frozenset((stop,))))
    assert ended == whole[: whole.index(stop)]


def test_an_answer_that_is_cut_off_says_so(tiny_gemma, question, caplog):
    with caplog.at_level(logging.WARNING, "ltx2"):
        assert len(answer(tiny_gemma, question, replace(GREEDY, max_tokens=3))) == 3
    assert "cut off at 3 tokens; raise max_tokens" in caplog.text


class Cancelled(Exception):
    """What a host raises."""


def test_cancelling_between_tokens_leaves_nothing_behind(tiny_gemma, question):
    whole, seen = answer(tiny_gemma, question), []

    def on_token(done, total):
        seen.append((done, total))
        if done == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        answer(tiny_gemma, question, on_token=on_token)
    assert seen == [(done, GREEDY.max_tokens) for done in range(5)]
    assert answer(tiny_gemma, question) == whole


def test_every_token_is_reported(tiny_gemma, question):
    seen = []
    tokens = answer(tiny_gemma, question, on_token=lambda done, total: seen.append(done))
    assert seen == list(range(len(tokens) + 1))


def drawn(logits, times=400, **settings):
    generator, sampling = torch.Generator().manual_seed(0), Sampling(**settings)
    return [choose(torch.tensor(logits), sampling, generator) for _ in range(times)]


def test_draws_follow_the_shares():
    counts = torch.tensor(drawn([0.0, 1.0, 2.0], times=4000, temperature=1.0, top_p=1.0)).bincount() / 4000
    torch.testing.assert_close(counts, torch.tensor([0.0, 1.0, 2.0]).softmax(0), atol=0.03, rtol=0)


def test_temperature_sharpens_and_zero_leaves_no_choice():
    logits = [1.0, 1.2, 0.9]
    warm, cool = drawn(logits, temperature=1.0), drawn(logits, temperature=0.1)
    assert warm.count(1) < cool.count(1) < 400
    assert set(drawn(logits, temperature=0.0)) == {1}


def test_only_the_likeliest_are_drawn_from():
    logits = [0.0, 0.1, 0.2, 0.3]
    assert set(drawn(logits, temperature=1.0, top_p=1.0)) == {0, 1, 2, 3}
    assert set(drawn(logits, temperature=1.0, top_p=1.0, top_k=2)) == {2, 3}
    # Shares of 0.29, 0.26, 0.24 and 0.21: two of them make up 0.55, the third is the one that passes 0.6.
    assert set(drawn(logits, temperature=1.0, top_p=0.6)) == {1, 2, 3}
    assert set(drawn(logits, temperature=1.0, top_p=1e-6)) == {3}


def test_settings_and_numbers_that_cannot_be_used():
    with pytest.raises(LTX2Error, match="at least 1 token; got max_tokens 0"):
        Sampling(max_tokens=0)
    for temperature in (-0.1, float("nan"), float("inf")):
        with pytest.raises(LTX2Error, match="temperature must be 0"):
            Sampling(temperature=temperature)
    with pytest.raises(LTX2Error, match="must give finite numbers"):
        choose(torch.tensor([0.0, float("nan")]), Sampling(), torch.Generator())
