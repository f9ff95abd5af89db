"""Schedules against the reference, in full fp32 precision; lists, slices, and lists of other nodes."""

import math

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.sampling.beta import cumulative, quantile
from ltx2.sampling.schedules import (
    beta_schedule,
    check_sigmas,
    distilled_schedule,
    linear_quadratic_schedule,
    ltx2_schedule,
    manual_schedule,
    slice_schedule,
)


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
    for make in (linear_quadratic_schedule, beta_schedule):
        with pytest.raises(LTX2Error, match="steps must be at least 1; got 0"):
            make(0)
    with pytest.raises(LTX2Error, match="alpha must be above 0 and at most 50; got -1"):
        beta_schedule(8, -1.0)
    with pytest.raises(LTX2Error, match="beta must be above 0 and at most 50; got nan"):
        beta_schedule(8, 0.6, float("nan"))
    for tokens in (67_320, 10**9):
        with pytest.raises(LTX2Error, match="leave the latent unconnected"):
            ltx2_schedule(30, tokens)


def test_linear_quadratic(sigmas):
    for steps, expected in sigmas["linear_quadratic"].items():
        check(linear_quadratic_schedule(int(steps)), expected)
    check(linear_quadratic_schedule(8), distilled_schedule(1).tolist())


def test_beta(sigmas):
    for steps, expected in sigmas["beta"].items():
        check(beta_schedule(int(steps)), expected)


def test_beta_steps_lie_where_the_distribution_does():
    near_clean, near_noise = beta_schedule(20, 0.3, 0.9), beta_schedule(20, 0.9, 0.3)
    assert (near_clean < 0.5).sum() > (beta_schedule(20) < 0.5).sum() > (near_noise < 0.5).sum()
    assert len(beta_schedule(500)) == 501
    assert len(beta_schedule(1000)) < 1001, "levels that meet count once"


@pytest.mark.parametrize("make", [linear_quadratic_schedule, beta_schedule])
def test_every_number_of_steps_falls_from_1_to_0(make):
    for steps in (*range(1, 40), 101, 400):
        sigmas = make(steps)
        assert len(sigmas) == steps + 1
        torch.testing.assert_close(check_sigmas(sigmas), sigmas)
        assert 0.9999 < sigmas[0] <= 1
        assert sigmas[-1] == 0


@pytest.mark.parametrize("a,b", [(1, 1), (0.5, 0.5), (2, 1), (1, 3)])
def test_the_beta_distribution_has_known_forms(a, b):
    known = {
        (1, 1): lambda x: x,
        (0.5, 0.5): lambda x: 2 / math.pi * math.asin(math.sqrt(x)),
        (2, 1): lambda x: x**2,
        (1, 3): lambda x: 1 - (1 - x) ** 3,
    }[a, b]
    for x in (0.0, 1e-6, 0.1, 0.5, 0.9, 0.999, 1.0):
        assert cumulative(x, a, b) == pytest.approx(known(x), abs=1e-14)
        assert quantile(known(x), a, b) == pytest.approx(x, abs=1e-11)


def test_a_list_of_numbers_is_a_schedule():
    expected = [1.0, 0.975, 0.5, 0.0]
    for text in ("1, 0.975, 0.5, 0", "1 .975 5e-1 0", "1;0.975;\n0.5,\t0,", " 1,0.975 , 0.5,0.0 "):
        assert manual_schedule(text).tolist() == torch.tensor(expected).tolist()


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "at least two sigmas must be listed; got 0: write"),
        ("1", "at least two sigmas must be listed; got 1: write"),
        ("1, half, 0", "sigmas must be numbers with commas between them; got 'half': write"),
        ("0.5, 1, 0", "must fall from at most 1 to at least 0; got 0.5, 1, 0: connect"),
        ("1.5, 1, 0", "must fall from at most 1 to at least 0; got 1.5, 1, 0: connect"),
        ("1, 0, -1", "must fall from at most 1 to at least 0; got 1, 0, -1: connect"),
        ("1, nan, 0", "must fall from at most 1 to at least 0; got 1, nan, 0: connect"),
    ],
)
def test_what_a_list_must_be(text, message):
    with pytest.raises(LTX2Error, match=message):
        manual_schedule(text)


def test_slices_meet_where_they_are_cut():
    whole = ltx2_schedule(10)
    for step in range(1, 10):
        first, second = slice_schedule(whole, 0, step), slice_schedule(whole, step)
        assert first[-1] == second[0]
        assert torch.equal(torch.cat((first, second[1:])), whole)
    assert torch.equal(slice_schedule(whole, 0, 10_000), whole)
    assert torch.equal(slice_schedule(whole, 2, 5), whole[2:6])


def test_a_share_of_the_steps_is_their_end():
    whole = ltx2_schedule(10)
    assert torch.equal(slice_schedule(whole, 0, -1, 0.4), whole[6:])
    assert torch.equal(slice_schedule(whole, 0, 8, 0.5), whole[4:9])
    assert torch.equal(slice_schedule(whole, 0, -1, 0.01), whole[9:])


@pytest.mark.parametrize(
    "values,message",
    [
        ((10,), "start_step must be at least 0 and before the end; got 10 to 10 of 10 steps: choose 0 to 9"),
        ((5, 5), "got 5 to 5 of 10 steps: choose 0 to 4"),
        ((-1,), "got -1 to 10 of 10 steps"),
        ((0, 0), "got 0 to 0 of 10 steps"),
        ((0, -2), "end_step must be -1"),
        ((0, -1, 0.0), "denoise must be above 0 and at most 1; got 0"),
    ],
)
def test_what_a_slice_must_be(values, message):
    with pytest.raises(LTX2Error, match=message):
        slice_schedule(ltx2_schedule(10), *values)


def test_sigmas_of_other_nodes(caplog):
    """Repeated levels, a first one just above 1, other dtypes: all of them are usable."""
    given = torch.tensor([1.0000001, 1.0, 0.9, 0.9, 0.5, 0.0, 0.0], dtype=torch.float64)
    with caplog.at_level("INFO", "ltx2"):
        assert check_sigmas(given).tolist() == torch.tensor([1.0, 0.9, 0.5, 0.0]).tolist()
    assert "3 noise levels of the schedule repeat" in caplog.text
    assert check_sigmas(torch.tensor([0.75, 0.5], dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize(
    "sigmas",
    [
        None,
        "1, 0",
        [1.0, 0.0],
        torch.tensor(1.0),
        torch.tensor([1.0]),
        torch.zeros(2, 2),
        torch.tensor([14.6, 7.0, 0.0]),
        torch.tensor([0.5, 0.9]),
        torch.tensor([0.5, 0.5]),
        torch.tensor([float("inf"), 0.0]),
        torch.linspace(2, 0, 100),
    ],
)
def test_sigmas_that_are_none(sigmas):
    with pytest.raises(LTX2Error, match="sigmas must .*; got .*: connect") as caught:
        check_sigmas(sigmas)
    assert len(str(caught.value)) < 250
