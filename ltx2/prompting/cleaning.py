"""What a language model wraps around a text, taken off: control characters, markdown, quotation marks, bullets."""

from __future__ import annotations

import re
import unicodedata

_FENCE = re.compile(r"^```[^\n`]*\n(.*?)\n?```$", re.DOTALL)
_MARKS = re.compile(r"\*\*|__|`|^\s{0,3}#{1,6}\s+|^\s*[*\u2022]\s+", re.MULTILINE)
_LEADING = re.compile(r"^[^\w\"'\u201c\u2018\u00ab(\[]+")
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_REPLACEMENT = "\ufffd"  # what stands for bytes that spell no character


def cleaned(answer: str) -> str:
    """`answer` as a plain prompt; empty where nothing is left. Quotation marks around speech stay."""
    text = "".join(character for character in unicodedata.normalize("NFC", answer) if _is_text(character)).strip()
    if fenced := _FENCE.match(text):
        text = fenced[1]
    text = _LEADING.sub("", _MARKS.sub("", text).strip())
    text = _without_quotes(text)
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return text if re.search(r"\w", text) else ""


def _is_text(character: str) -> bool:
    return character == "\n" or (unicodedata.category(character)[0] != "C" and character != _REPLACEMENT)


def _without_quotes(text: str) -> str:
    """Without quotation marks around the whole, or one in front that is never closed."""
    while text and (closing := _QUOTES.get(text[0])):
        end = text.find(closing, 1)
        if end == len(text) - 1:
            text = text[1:-1].strip()
        elif end < 0:
            text = text[1:].strip()
        else:
            break
    return text
