"""Guidance arithmetic against the reference, and which passes it asks for."""

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import NEUTRAL, Guidance, combine, plan

BLOCKS = frozenset({28})


@pytest.fixture(scope="module")
def case(golden):
    return golden("guidance")


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_sum_of_terms(case, number, modality):
    scales = case.params["grid"][number]
    guidance = Guidance(
        cfg=scales["cfg"],
        stg=scales["stg"],
        stg_blocks=BLOCKS,
        modality=scales["mod"],
        rescale=scales["rescale"],
    )
    names = ("cond", "uncond", "perturbed", "isolated")
    x0 = combine(guidance, {name: case.inputs[f"{modality}.{name}"] for name in names})
    torch.testing.assert_close(x0, case.outputs[f"multimodal.{number}.{modality}"], atol=1e-5, rtol=0)


def names(*guidance):
    return [one.name for one in plan(*guidance)]


def test_passes_follow_the_scales():
    assert names(NEUTRAL, NEUTRAL) == ["cond"]
    assert names(Guidance(cfg=3), NEUTRAL) == ["cond", "uncond"]
    everything = Guidance(cfg=3, stg=1, stg_blocks=BLOCKS, modality=3, rescale=0.7)
    assert names(everything, NEUTRAL) == ["cond", "uncond", "perturbed", "isolated"]
    assert names(everything, None) == ["cond", "uncond", "perturbed"]


def test_a_neutral_modality_is_left_alone():
    _, uncond, perturbed = plan(NEUTRAL, Guidance(cfg=7, stg=1, stg_blocks=BLOCKS))
    assert uncond.negative == (False, True)
    assert not perturbed.perturbation.skips("video_self_attention", 28)
    assert perturbed.perturbation.skips("audio_self_attention", 28)


def test_zero_is_zero():
    """Defect 4: an explicit 0.0 must not be replaced."""
    x0 = {"cond": torch.ones(1, 2, 2), "uncond": torch.full((1, 2, 2), 3.0), "isolated": torch.full((1, 2, 2), 5.0)}
    assert torch.equal(combine(Guidance(cfg=0.0), x0), x0["uncond"])
    assert torch.equal(combine(Guidance(modality=0.0), x0), x0["isolated"])
    assert torch.equal(combine(Guidance(cfg=3.0, rescale=0.0), x0), torch.full((1, 2, 2), -3.0))
    assert torch.equal(combine(Guidance(stg=0.0), x0), x0["cond"])


def test_refusals():
    with pytest.raises(LTX2Error, match="needs the blocks"):
        Guidance(stg=1)
    with pytest.raises(LTX2Error, match="cfg must be a finite number; got nan"):
        Guidance(cfg=float("nan"))
