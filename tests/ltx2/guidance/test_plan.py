"""Which passes guidance asks for."""

from ltx2.guidance.guidance import NEUTRAL, Guidance
from ltx2.guidance.plan import plan

EVERYTHING = Guidance(cfg=3, stg=1, stg_blocks=frozenset({28}), modality=3, rescale=0.7)


def test_passes_follow_the_scales():
    assert list(plan(NEUTRAL, NEUTRAL)) == ["cond"]
    assert list(plan(Guidance(rescale=0.7), NEUTRAL)) == ["cond"]
    assert list(plan(Guidance(cfg=3), NEUTRAL)) == ["cond", "uncond"]
    assert list(plan(EVERYTHING, NEUTRAL)) == ["cond", "uncond", "perturbed", "isolated"]
    assert list(plan(EVERYTHING, None)) == ["cond", "uncond", "perturbed"]
    assert list(plan(None, EVERYTHING)) == ["cond", "uncond", "perturbed"]


def test_a_neutral_modality_is_left_alone():
    passes = plan(NEUTRAL, Guidance(cfg=7, stg=1, stg_blocks=frozenset({28})))
    assert passes["uncond"].prompts == (0, 1)
    assert not passes["perturbed"].perturbation.skips("video_self_attention", 28)
    assert passes["perturbed"].perturbation.skips("audio_self_attention", 28)


def test_a_modality_whose_result_is_not_used_asks_for_no_pass():
    assert list(plan(NEUTRAL, EVERYTHING, wanted=(True, False))) == ["cond"]
    passes = plan(Guidance(cfg=3), EVERYTHING, wanted=(True, False))
    assert list(passes) == ["cond", "uncond"]
    assert passes["uncond"].prompts == (1, 1)
