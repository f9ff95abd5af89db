"""Prompts to token ids: one BOS, the text, nothing else, whatever the tokenizer's own settings say."""

from __future__ import annotations

import io
import logging

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from ltx2.errors import LTX2Error, ModelFileError
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


def sentencepiece_model(**pieces) -> bytes:
    """A model as ComfyUI's single files hold it, whose marks of turns are words of the user's."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    model = io.BytesIO()
    trainer.train(
        sentence_iterator=iter(["a cat on the roof", "the roof of a cat"] * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=300,
        byte_fallback=True,
        add_dummy_prefix=False,
        hard_vocab_limit=False,
        user_defined_symbols=["<start_of_turn>", "<end_of_turn>"],
        minloglevel=2,
        **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"} | pieces,
    )
    return model.getvalue()


def test_sentencepiece_models_know_marks_and_spell_answers():
    tokenizer = PromptTokenizer.from_sentencepiece(sentencepiece_model())
    assert tokenizer("a cat").tolist() == [[BOS, *tokenizer.ids("a cat")]]
    marks = [tokenizer.special(name) for name in ("<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>")]
    assert marks[0] == BOS
    assert len(set(marks)) == 4
    assert tokenizer.ids("<start_of_turn>") == [marks[1]]
    ids = tokenizer.ids("a cat, caf\u00e9")
    assert tokenizer.text([*marks[:2], *ids, *marks[2:]]) == "a cat, caf\u00e9"
    with pytest.raises(ModelFileError, match="it has no <start_of_image> token"):
        tokenizer.special("<start_of_image>")


def test_a_sentencepiece_model_of_another_family_is_refused():
    with pytest.raises(ModelFileError, match="must be Gemma's; it has no <bos> token"):
        PromptTokenizer.from_sentencepiece(sentencepiece_model(bos_piece="<s>"))


def test_half_characters_are_refused():
    tokenizer = PromptTokenizer.from_json(tiny_tokenizer().to_str())
    assert tokenizer("\U0001f431 a").tolist() == [[BOS, 3, 4]]
    with pytest.raises(LTX2Error, match=r"must be whole characters; got '\\ud83d' without its other half"):
        tokenizer("a \ud83d cat")
