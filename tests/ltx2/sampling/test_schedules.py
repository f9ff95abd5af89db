"""Schedules against the reference, in full fp32 precision."""

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.sampling.schedules import distilled_schedule, ltx2_schedule


@pytest.fixture(scope="module")
def sigmas(golden_json):
    return golden_json("sigmas")


def check(schedule, expected):
    torch.testing.assert_close(schedule, torch.tensor(expected), atol=1e-6, rtol=0)


def test_default_shift(sigmas):
    for steps, expected in sigmas["shifted"].items():
        check(ltx2_schedule(int(steps)), expected)


def test_shift_by_tokens(sigmas):
    for steps, by_tokens in sigmas["shifted_tokens"].items():
        for tokens, expected in by_tokens.items():
            check(ltx2_schedule(int(steps), int(tokens)), expected)


def test_without_stretching(sigmas):
    for steps, expected in sigmas["shifted_no_stretch"].items():
        check(ltx2_schedule(int(steps), terminal=None), expected)


def test_the_shift_does_not_follow_the_clip_by_itself():
    """Defect N10: the reference's shift is that of 4096 tokens at every size."""
    check(ltx2_schedule(8), ltx2_schedule(8, 4096).tolist())


@pytest.mark.parametrize("stage", [1, 2])
def test_distilled(sigmas, stage):
    check(distilled_schedule(stage), sigmas[f"distilled_stage{stage}"])


def test_refusals():
    with pytest.raises(LTX2Error, match="at least 2; got 1"):
        ltx2_schedule(1)
    with pytest.raises(LTX2Error, match="stage must be 1 or 2; got 3"):
        distilled_schedule(3)
    with pytest.raises(LTX2Error, match="tokens must be at least 1; got 0"):
        ltx2_schedule(8, 0)
    for tokens in (67_320, 10**9):
        with pytest.raises(LTX2Error, match="leave the latent unconnected"):
            ltx2_schedule(30, tokens)
