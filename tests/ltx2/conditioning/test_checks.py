"""Combinations that are warned about."""

import logging

import pytest
import torch

from ltx2.conditioning.checks import check_references
from ltx2.conditioning.frames import ReplacedFrames
from ltx2.conditioning.references import ReferenceSound, ReferenceVideo
from ltx2.latents import KEY, Clip, conditions_of

VIDEO = ReferenceVideo(torch.zeros(1, 4, 1, 1, 1))
VOICE = ReferenceSound(torch.zeros(1, 2, 3, 3))
IMAGE = ReplacedFrames(torch.zeros(1, 4, 1, 1, 1))


@pytest.mark.parametrize(
    ("scale", "conditions", "said"),
    [
        (None, (), None),
        (None, (IMAGE, VOICE), None),
        (None, (VIDEO,), "add the IC-LoRA, or expect the reference to do little"),
        ((2, 1), (IMAGE, VIDEO), None),
        ((1, 1), (VOICE,), None),
        ((2, 1), (IMAGE,), "no reference is given: add LTX-2 Video Reference"),
        ((1, 1), (), "no reference is given"),
    ],
)
def test_transformers_and_references(caplog, scale, conditions, said):
    caplog.set_level(logging.WARNING, "ltx2")
    check_references(scale, conditions)
    assert len(caplog.records) == (said is not None)
    assert said is None or said in caplog.text


def test_conditions_of_both_latents():
    video, audio = {KEY: Clip(24.0, (IMAGE, VIDEO))}, {KEY: Clip(24.0, (VOICE,))}
    assert conditions_of(video, audio) == (IMAGE, VIDEO, VOICE)
    assert conditions_of(None, {"samples": torch.zeros(1)}) == ()
