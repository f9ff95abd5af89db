"""Prompt nodes: what is kept on disk, and that a prompt that is kept needs no text encoder."""

from __future__ import annotations

import logging

import pytest
import torch


@pytest.fixture
def node(pack, host):
    """`node("LTX2_EncodePrompt")` is that node's class."""
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    return classes.__getitem__


@pytest.fixture
def error(pack):
    return pack("ltx2.errors").LTX2Error


@pytest.fixture
def text_encoder(pack, tiny_models):
    models = tiny_models("2.3")
    gemma = next(folder for folder in (models / "text_encoders").iterdir() if folder.is_dir())
    yield pack("ltx2.recipe").TextEncoderRecipe.open(gemma, next((models / "checkpoints").glob("*dev*")))
    pack("nodes.host.networks").CACHE.clear()


def encode(node, *arguments, **options):
    (context,) = node("LTX2_EncodePrompt").execute(*arguments, **options).args
    return context


def loads(caplog):
    """How many text encoders were built so far."""
    return sum("loading <LTX-2 text encoder" in record.getMessage() for record in caplog.records)


@pytest.fixture
def counted(caplog):
    with caplog.at_level(logging.INFO, "ltx2"):
        yield caplog


def test_the_second_run_of_a_prompt_needs_no_text_encoder(node, pack, text_encoder, counted):
    first = encode(node, text_encoder, "a red fox")
    assert loads(counted) == 1
    pack("nodes.host.networks").CACHE.clear()
    again = encode(node, text_encoder, "a red fox")
    assert loads(counted) == 1
    assert torch.equal(first.video, again.video)
    assert torch.equal(first.audio, again.audio)
    assert not again.is_empty
    other = encode(node, text_encoder, "a blue fox")
    assert loads(counted) == 2
    assert not torch.equal(first.video, other.video)


def test_without_the_cache_nothing_is_kept_or_found(node, pack, host, text_encoder, counted):
    first = encode(node, text_encoder, "a red fox", cache=False)
    assert not host.cache_folder().exists()
    encode(node, text_encoder, "a red fox")
    pack("nodes.host.networks").CACHE.clear()
    before = loads(counted)
    again = encode(node, text_encoder, "a red fox", cache=False)
    assert loads(counted) == before + 1
    assert torch.equal(first.video, again.video)


def test_an_empty_prompt_stays_known_as_one(node, text_encoder):
    assert [encode(node, text_encoder, text).is_empty for text in ("", " \n", "", "fox")] == [True, True, True, False]


def test_the_prompt_is_not_on_disk(node, host, text_encoder):
    encode(node, text_encoder, "a secret fox")
    (file,) = (host.cache_folder() / "prompts").iterdir()
    assert b"secret" not in file.read_bytes()


def test_the_negative_prompt_starts_from_our_list(node, pack, text_encoder):
    (text,) = [each for each in node("LTX2_NegativePrompt").GET_SCHEMA().inputs if each.id == "text"]
    assert text.default == pack("ltx2.prompting.negative").NEGATIVE_PROMPT
    (context,) = node("LTX2_NegativePrompt").execute(text_encoder, text.default).args
    assert torch.equal(context.video, encode(node, text_encoder, text.default, cache=False).video)
    assert not context.is_empty
