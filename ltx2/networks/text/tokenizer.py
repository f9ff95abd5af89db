"""Prompts to token ids: one leading BOS, the text, nothing else.

Shapes: T tokens, the BOS included.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import LTX2Error, ModelFileError
from ...packages import sentencepiece, tokenizers

logger = logging.getLogger("ltx2")
BOS = "<bos>"
MAX_TOKENS = 1024
# What sentencepiece takes for words like any other.
_MARKS = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>")


@dataclass(frozen=True)
class Codec:
    """What a tokenizer package does for us: no special token is added to a text, and none is left in one."""

    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    special: Callable[[str], int | None]


class PromptTokenizer:
    """Gemma's tokenizer as LTX-2 was trained with it: no chat template, no EOS, no padding."""

    def __init__(self, codec: Codec) -> None:
        """Raises ModelFileError where the tokenizer has no BOS, with which every prompt starts."""
        self._codec = codec
        self._bos = self.special(BOS)

    @classmethod
    def from_json(cls, text: str) -> PromptTokenizer:
        """From the content of a tokenizer.json. Raises ModelFileError where it is no Gemma tokenizer."""
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001 - the package raises nothing more specific
            raise ModelFileError(
                f"tokenizer.json must be what the tokenizers package reads; it says {error}. Download the file again"
            ) from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(
            Codec(
                encode=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
                decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
                special=tokenizer.token_to_id,
            )
        )

    @staticmethod
    def reads_sentencepiece() -> bool:
        """Whether the sentencepiece package is there (it is, wherever ComfyUI is)."""
        return importlib.util.find_spec("sentencepiece") is not None

    @classmethod
    def from_sentencepiece(cls, model: bytes) -> PromptTokenizer:
        """From a sentencepiece model, as ComfyUI's single files hold it. Raises ModelFileError without the package."""
        if not cls.reads_sentencepiece():
            raise ModelFileError(
                "the tokenizer inside this file must be read by the sentencepiece package, which is not installed: "
                "pip install sentencepiece, or put a tokenizer.json beside the file"
            )
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        unknown = processor.unk_id()

        def special(name: str) -> int | None:
            found = processor.piece_to_id(name)
            return None if found == unknown else found

        marks = {special(name) for name in _MARKS}
        return cls(
            Codec(processor.encode, lambda ids: processor.decode([each for each in ids if each not in marks]), special)
        )

    def special(self, name: str) -> int:
        """The id of a special token ("<start_of_turn>"). Raises ModelFileError where the tokenizer has none."""
        found = self._codec.special(name)
        if found is None:
            raise ModelFileError(
                f"the tokenizer must be Gemma's; it has no {name} token. Use the tokenizer.json of the encoder's folder"
            )
        return found

    def ids(self, text: str) -> list[int]:
        """The ids of a piece of text as it stands: nothing is stripped, added or cut.

        Raises: LTX2Error where it holds half a character, as broken JSON does.
        """
        if half := next((character for character in text if "\ud800" <= character <= "\udfff"), None):
            raise LTX2Error(f"a prompt must be whole characters; got {half!r} without its other half: type it anew")
        return self._codec.encode(text)

    def text(self, ids: Sequence[int]) -> str:
        """The text that `ids` spell, without special tokens."""
        return self._codec.decode(list(ids))

    def __call__(self, prompt: str) -> Tensor:
        """Token ids (1, T) of `prompt`, which may be empty; at most MAX_TOKENS, the rest is dropped with a warning."""
        ids = self.ids(prompt.strip())
        # A prompt may spell the token out; there is one all the same.
        while ids and ids[0] == self._bos:
            ids = ids[1:]
        ids = [self._bos, *ids]
        if len(ids) > MAX_TOKENS:
            logger.warning(
                "the prompt has %d tokens of at most %d; the last %d are dropped",
                len(ids),
                MAX_TOKENS,
                len(ids) - MAX_TOKENS,
            )
        return torch.tensor([ids[:MAX_TOKENS]])
