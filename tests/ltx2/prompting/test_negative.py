"""The default negative prompt: about a hundred different faults, none said twice."""

from __future__ import annotations

from ltx2.prompting.negative import NEGATIVE_PROMPT


def test_about_a_hundred_faults_each_said_once():
    faults = NEGATIVE_PROMPT.split(", ")
    assert 90 <= len(faults) <= 120
    assert len(set(faults)) == len(faults)
    assert all(fault == fault.strip() and fault for fault in faults)
