"""Prompts to token ids: one BOS, the text, nothing else, whatever the tokenizer's own settings say."""

from __future__ import annotations

import logging

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from ltx2.errors import ModelFileError
from ltx2.networks.text.tokenizer import MAX_TOKENS, PromptTokenizer

BOS, EOS = 2, 1


def tiny_tokenizer(*, bos: str = "<bos>", padded: bool = False) -> Tokenizer:
    """A word-level tokenizer with Gemma's special tokens that adds BOS and EOS of its own accord."""
    words = ["<pad>", "<eos>", bos, "<unk>", "a", "cat", "on", "the", "roof"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in words[:4]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A <eos>", special_tokens=[(bos, BOS), ("<eos>", EOS)]
    )
    if padded:
        tokenizer.enable_padding(length=32, direction="left")
        tokenizer.enable_truncation(4)
    return tokenizer


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("a cat on the roof", [BOS, 4, 5, 6, 7, 8]),
        ("  \n a cat\t\n", [BOS, 4, 5]),
        ("", [BOS]),
        (" \n", [BOS]),
        ("<bos> a cat", [BOS, 4, 5]),
        ("<bos><bos>a", [BOS, 4]),
        ("a dog", [BOS, 4, 3]),
    ],
)
def test_one_bos_and_the_text(prompt, ids, padded):
    tokens = PromptTokenizer.from_json(tiny_tokenizer(padded=padded).to_str())(prompt)
    assert tokens.tolist() == [ids]


def test_what_does_not_fit_is_dropped_with_a_warning(caplog):
    tokenizer = PromptTokenizer.from_json(tiny_tokenizer().to_str())
    with caplog.at_level(logging.WARNING, "ltx2"):
        whole = tokenizer("cat " * (MAX_TOKENS - 1))
    assert whole.shape == (1, MAX_TOKENS)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "ltx2"):
        cut = tokenizer("cat " * (MAX_TOKENS + 6))
    assert cut.tolist() == whole.tolist()
    assert "the last 7 are dropped" in caplog.text


def test_files_that_are_no_gemma_tokenizer_are_refused():
    with pytest.raises(ModelFileError, match="Download the file again"):
        PromptTokenizer.from_json("<html>")
    with pytest.raises(ModelFileError, match="must be Gemma's"):
        PromptTokenizer.from_json(tiny_tokenizer(bos="<s>").to_str())


def test_sentencepiece_without_its_package_says_what_to_do():
    if PromptTokenizer.reads_sentencepiece():
        with pytest.raises(RuntimeError):
            PromptTokenizer.from_sentencepiece(b"no model")
    else:
        with pytest.raises(ModelFileError, match="pip install sentencepiece"):
            PromptTokenizer.from_sentencepiece(b"no model")


def test_pieces_of_text_and_back():
    tokenizer = PromptTokenizer.from_json(tiny_tokenizer().to_str())
    assert tokenizer.ids(" a cat <eos>") == [4, 5, EOS]
    assert tokenizer.text([BOS, 4, 5, EOS]) == "a cat"
    assert tokenizer.special("<eos>") == EOS
    with pytest.raises(ModelFileError, match="it has no <start_of_turn> token"):
        tokenizer.special("<start_of_turn>")
