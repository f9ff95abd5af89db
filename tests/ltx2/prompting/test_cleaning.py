"""What is taken off an answer, and what stays."""

from __future__ import annotations

import pytest

from ltx2.prompting.cleaning import cleaned


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("A fox runs.", "A fox runs."),
        ("  \n\nA fox   runs.\t\n", "A fox runs."),
        ('"A fox runs."', "A fox runs."),
        ("\u201cA fox runs.\u201d", "A fox runs."),
        ("\u00ab 'A fox runs.' \u00bb", "A fox runs."),
        ('"A fox runs.', "A fox runs."),
        ('"Come!" she calls, and the fox runs.', '"Come!" she calls, and the fox runs.'),
        ('She calls: "Come!"', 'She calls: "Come!"'),
        ("**A fox** runs.", "A fox runs."),
        ("**A fox runs.**", "A fox runs."),
        ("# Prompt\n\nA fox runs.", "Prompt\n\nA fox runs."),
        ("```\nA fox runs.\n```", "A fox runs."),
        ("```text\nA fox runs.\n```", "A fox runs."),
        ("- A fox runs.", "A fox runs."),
        ("* A fox runs.\n* It stops.", "A fox runs.\nIt stops."),
        ("...: A fox runs...", "A fox runs..."),
        ("\ufeffA\u200b fox\u0000 runs\ufffd.", "A fox runs."),
        ("Cafe\u0301 au lait", "Caf\u00e9 au lait"),
        ("(A fox) runs.", "(A fox) runs."),
        ("One.\n\n\n\nTwo. \n Three.", "One.\n\nTwo.\nThree."),
        ("\u72d0\u72f8\u5728\u8dd1\u3002", "\u72d0\u72f8\u5728\u8dd1\u3002"),
        ("\u00a1Corre!", "Corre!"),
        ("A 5-year-old girl's snow_man", "A 5-year-old girl's snow_man"),
    ],
)
def test_a_plain_prompt_is_left(answer, prompt):
    assert cleaned(answer) == prompt
    assert cleaned(prompt) == prompt


@pytest.mark.parametrize("answer", ["", " \n", '""', "...", "\ufffd\ufffd", "```\n```", "**", "'", "(--)"])
def test_nothing_is_left_of_an_answer_without_words(answer):
    assert cleaned(answer) == ""
