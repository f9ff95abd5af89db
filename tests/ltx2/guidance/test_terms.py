"""Guidance arithmetic against the reference."""

import pytest
import torch

from ltx2.guidance.guidance import Guidance
from ltx2.guidance.terms import METHODS, Running, combine

EXACT = {"atol": 1e-5, "rtol": 0}
# (cfg, eta, norm_threshold) of the cases of projected guidance.
PROJECTED = [(4.0, 1.0, 0.0), (4.0, 0.5, 0.0), (7.0, 0.0, 5.0), (3.0, 0.6, 2.0)]


@pytest.fixture(scope="module")
def case(golden):
    return golden("guidance")


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_sum_of_terms(case, number, modality):
    scales = case.params["grid"][number]
    guidance = Guidance(cfg=scales["cfg"], stg=scales["stg"], modality=scales["mod"], rescale=scales["rescale"])
    names = ("cond", "uncond", "perturbed", "isolated")
    # The fixture's spreads are of its two clips as one: (1, B, T, C).
    (x0,) = combine(guidance, {name: case.inputs[f"{modality}.{name}"][None] for name in names})
    torch.testing.assert_close(x0, case.outputs[f"multimodal.{number}.{modality}"], **EXACT)


def term(case, guidance, negative="uncond", running=None):
    """What a negative prediction adds to the conditional one."""
    cond = case.inputs["video.cond"]
    return METHODS[guidance.method](guidance, cond, case.inputs[f"video.{negative}"], running or Running())


@pytest.mark.parametrize("scale", [1.5, 4.0])
def test_plain_guidance(case, scale):
    torch.testing.assert_close(term(case, Guidance(cfg=scale)), case.outputs[f"cfg.{scale}"], **EXACT)


@pytest.mark.parametrize("scale", [1.5, 4.0])
def test_star(case, scale):
    found = term(case, Guidance(cfg=scale, method="cfg_star"))
    torch.testing.assert_close(found, case.outputs[f"cfg_star.{scale}"], **EXACT)


@pytest.mark.parametrize("scale", [1.5, 4.0])
def test_perturbed(case, scale):
    predictions = {name: case.inputs[f"video.{name}"] for name in ("cond", "perturbed")}
    found = combine(Guidance(stg=scale), predictions) - predictions["cond"]
    torch.testing.assert_close(found, case.outputs[f"stg.{scale}"], **EXACT)


def as_one_clip(case, guidance, negative, running):
    """The fixture's projections run over its two clips as one: (1, B, T, C)."""
    cond, uncond = (case.inputs[f"video.{name}"][None] for name in ("cond", negative))
    return METHODS["apg"](guidance, cond, uncond, running)[0]


@pytest.mark.parametrize("number", range(4))
def test_projected(case, number):
    cfg, eta, threshold = PROJECTED[number]
    guidance = Guidance(cfg=cfg, method="apg", eta=eta, norm_threshold=threshold)
    found = as_one_clip(case, guidance, "uncond", Running())
    torch.testing.assert_close(found, case.outputs[f"apg.{number}"], **EXACT)


def test_projected_with_momentum(case):
    guidance = Guidance(cfg=4.0, method="apg", eta=0.6, norm_threshold=5.0, momentum=-0.5)
    running = Running()
    for step, negative in enumerate(("uncond", "perturbed", "isolated")):
        found = as_one_clip(case, guidance, negative, running)
        torch.testing.assert_close(found, case.outputs[f"apg_momentum.step{step}"], **EXACT)


@pytest.mark.parametrize("method", METHODS)
def test_a_clip_is_guided_as_it_is_alone(case, method):
    guidance = Guidance(cfg=4.0, method=method, eta=0.5, norm_threshold=1.0)
    both = term(case, guidance)
    for clip in range(2):
        cond, uncond = (case.inputs[f"video.{name}"][clip : clip + 1] for name in ("cond", "uncond"))
        alone = METHODS[method](guidance, cond, uncond, Running())
        torch.testing.assert_close(both[clip : clip + 1], alone, atol=1e-6, rtol=0)


def test_a_clip_is_rescaled_as_it_is_alone(case):
    guidance = Guidance(cfg=4.0, rescale=0.7)
    pair = {name: case.inputs[f"video.{name}"] * torch.tensor([1.0, 5.0])[:, None, None] for name in ("cond", "uncond")}
    both = combine(guidance, pair)
    for clip in range(2):
        alone = combine(guidance, {name: x[clip : clip + 1] for name, x in pair.items()})
        torch.testing.assert_close(both[clip : clip + 1], alone, atol=1e-6, rtol=0)


def test_projection_without_limits_is_plain_guidance(case):
    torch.testing.assert_close(term(case, Guidance(cfg=4.0, method="apg")), term(case, Guidance(cfg=4.0)), **EXACT)


def test_zero_is_zero():
    """Defect 4: an explicit 0.0 must not be replaced."""
    x0 = {"cond": torch.ones(1, 2, 2), "uncond": torch.full((1, 2, 2), 3.0), "isolated": torch.full((1, 2, 2), 5.0)}
    assert torch.equal(combine(Guidance(cfg=0.0), x0), x0["uncond"])
    assert torch.equal(combine(Guidance(modality=0.0), x0), x0["isolated"])
    assert torch.equal(combine(Guidance(cfg=3.0, rescale=0.0), x0), torch.full((1, 2, 2), -3.0))
    assert torch.equal(combine(Guidance(stg=0.0), x0), x0["cond"])
    assert torch.equal(combine(Guidance(cfg=3.0, method="apg", eta=0.0), x0), x0["cond"])
