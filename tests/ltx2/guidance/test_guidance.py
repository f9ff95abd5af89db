"""Scales: what is refused, what None means, where a term holds, tables over the noise level."""

from dataclasses import fields

import pytest

from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import FOLLOWING, NEUTRAL, Guidance, GuidanceTable, default_stg_block, guidance_at
from ltx2.guidance.presets import PRESETS

VIDEO = Guidance(
    cfg=3.0,
    stg=1.0,
    stg_blocks=frozenset({14}),
    modality=2.0,
    rescale=0.7,
    skip_step=2,
    method="apg",
    eta=0.5,
    norm_threshold=5.0,
    momentum=-0.5,
    cfg_sigmas=(0.2, 0.9),
    stg_sigmas=(0.1, 0.8),
    modality_sigmas=(0.3, 0.7),
)
ZERO = {
    "cfg": 0.0,
    "stg": 0.0,
    "stg_blocks": frozenset({0}),
    "modality": 0.0,
    "rescale": 0.0,
    "skip_step": 0,
    "method": "cfg",
    "eta": 0.0,
    "norm_threshold": 0.0,
    "momentum": 0.0,
    "cfg_sigmas": (0.0, 0.0),
    "stg_sigmas": (0.0, 0.0),
    "modality_sigmas": (0.0, 0.0),
}


@pytest.mark.parametrize("name", [field.name for field in fields(Guidance)])
def test_none_follows_the_video_and_zero_is_zero(name):
    """Defect 4, for every value."""
    assert getattr(VIDEO, name) != ZERO[name]
    follows = FOLLOWING.following(VIDEO)
    assert getattr(follows, name) == getattr(VIDEO, name)
    says = Guidance(**{**{field.name: None for field in fields(Guidance)}, name: ZERO[name]}).following(VIDEO)
    assert getattr(says, name) == ZERO[name]
    others = [field.name for field in fields(Guidance) if field.name != name]
    assert all(getattr(says, other) == getattr(VIDEO, other) for other in others)


def test_audio_that_says_nothing_is_guided_as_the_video():
    assert guidance_at(VIDEO, FOLLOWING, 0.5) == (VIDEO, VIDEO)
    assert guidance_at(FOLLOWING, FOLLOWING, 0.5) == (NEUTRAL, NEUTRAL)
    assert guidance_at(VIDEO, NEUTRAL, 0.5) == (VIDEO, Guidance(stg_blocks=VIDEO.stg_blocks))


@pytest.mark.parametrize(("sigma", "holds"), [(1.0, False), (0.9, True), (0.5, True), (0.2, True), (0.19, False)])
@pytest.mark.parametrize("term", ["cfg", "stg", "modality"])
def test_a_term_holds_within_its_sigmas_ends_included(term, sigma, holds):
    guidance = Guidance(cfg=3.0, stg=1.0, modality=2.0, **{f"{term}_sigmas": (0.2, 0.9)})
    within = guidance.within(sigma)
    assert (getattr(within, term) == getattr(guidance, term)) == holds
    assert getattr(within, term) == (getattr(guidance, term) if holds else getattr(NEUTRAL, term))
    for other in {"cfg", "stg", "modality"} - {term}:
        assert getattr(within, other) == getattr(guidance, other)


def test_the_ends_of_an_interval_hold_in_fp32():
    """0.7 of a schedule is a little less in fp32."""
    assert Guidance(cfg=3.0, cfg_sigmas=(0.0, 0.7)).within(0.699999988079071).cfg == 3.0
    assert Guidance(cfg=3.0, cfg_sigmas=(0.0, 0.7)).within(0.7000000000001).cfg == 3.0


def test_a_table_is_looked_up_by_sigma():
    table = GuidanceTable(((0.9, Guidance(cfg=8.0)), (0.5, Guidance(cfg=4.0)), (0.0, NEUTRAL)))
    assert [table.at(sigma).cfg for sigma in (1.0, 0.9, 0.89, 0.5, 0.49, 0.0)] == [8, 8, 4, 4, 1, 1]
    assert [pair[1].cfg for pair in (guidance_at(table, FOLLOWING, sigma) for sigma in (1.0, 0.6, 0.1))] == [8, 4, 1]


def test_tables_are_made_of_two_halves_and_of_tables():
    low = GuidanceTable.split(Guidance(cfg=4.0), NEUTRAL, 0.5)
    table = GuidanceTable.split(Guidance(cfg=8.0), low, 0.9)
    assert [start for start, _ in table.rows] == [0.9, 0.5, 0.0]
    again = GuidanceTable.split(table, Guidance(cfg=2.0), 0.7)
    assert [(start, guidance.cfg) for start, guidance in again.rows] == [(0.9, 8.0), (0.7, 4.0), (0.0, 2.0)]
    below = GuidanceTable.split(Guidance(cfg=6.0), table, 0.3)
    assert [(start, guidance.cfg) for start, guidance in below.rows] == [(0.3, 6.0), (0.0, 1.0)]


def config(**changes):
    return TransformerConfig(cross_attention_dim=8, audio_cross_attention_dim=4, **changes)


def test_the_releases_own_block():
    """29 in 2.0, 28 since then, of 48."""
    assert default_stg_block(config(num_layers=48)) == 29
    assert default_stg_block(config(num_layers=48, text_modulation=True)) == 28
    assert default_stg_block(config(num_layers=2)) == 1
    assert Guidance(stg=1.0).fitted(config(num_layers=48)).stg_blocks == {29}
    assert Guidance(stg=1.0, stg_blocks=frozenset({14, 19})).fitted(config(num_layers=48)).stg_blocks == {14, 19}


def test_blocks_beyond_the_model_are_refused():
    with pytest.raises(LTX2Error, match=r"must be 0 to 47 in this transformer; got 48, 60: .*own \(29\)"):
        Guidance(stg_blocks=frozenset({3, 48, 60})).fitted(config(num_layers=48))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cfg": float("nan")}, "cfg must be a finite number; got nan"),
        ({"momentum": float("inf")}, "momentum must be a finite number; got inf"),
        ({"stg_blocks": frozenset()}, "stg_blocks must name at least one block"),
        ({"skip_step": -1}, "skip_step must be 0 or more; got -1"),
        ({"norm_threshold": -1.0}, "norm_threshold must be 0"),
        ({"method": "magic"}, "method must be one of cfg, cfg_star, apg; got magic"),
        (
            {"cfg_sigmas": (0.9, 0.2)},
            "cfg must hold from a start sigma down to an end sigma, both 0 to 1; got start 0.2, end 0.9",
        ),
        ({"stg_sigmas": (0.0, 1.5)}, "stg must hold .* got start 1.5, end 0"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(LTX2Error, match=message):
        Guidance(**values)


@pytest.mark.parametrize("starts", [(), (0.5,), (0.5, 0.9, 0.0), (0.5, 0.5, 0.0)])
def test_tables_that_do_not_fall_to_zero_are_refused(starts):
    with pytest.raises(LTX2Error, match="must fall to 0"):
        GuidanceTable(tuple((start, NEUTRAL) for start in starts))
    with pytest.raises(LTX2Error, match="must change at a sigma above 0"):
        GuidanceTable.split(NEUTRAL, NEUTRAL, 0.0)


def test_presets_are_the_released_values():
    scales = {
        name: [(one.cfg, one.stg, one.rescale, one.modality, one.stg_blocks) for one in pair]
        for name, pair in PRESETS.items()
    }
    assert scales == {
        "LTX-2 dev": [(3, 1, 0.7, 3, None), (7, 1, 0.7, 3, None)],
        "HQ (res_2s)": [(3, 0, 0.45, 3, None), (7, 0, 1, 3, None)],
        "audio only": [(1, 0, 0, 1, None), (7, 1, 0.7, 1, None)],
    }


def test_what_a_wire_says_of_itself():
    assert repr(NEUTRAL) == "<guidance neutral>"
    assert repr(Guidance(cfg=3.0, rescale=0.7)) == "<guidance cfg 3.0, rescale 0.7>"
