"""The guidance nodes: neutral unless told otherwise, every widget reaches its value, presets, tables, refusals."""

import pytest
import torch

# What LTX-2 Guidance makes of every widget set to something of its own.
WIDGETS = {
    "cfg": 4.0,
    "stg": 0.5,
    "stg_blocks": "14, 19",
    "modality": 2.0,
    "rescale": 0.25,
    "skip_step": 2,
    "method": "apg",
    "apg_eta": 0.75,
    "apg_threshold": 5.0,
    "apg_momentum": -0.5,
    "cfg_start_sigma": 0.9,
    "cfg_end_sigma": 0.1,
    "stg_start_sigma": 0.8,
    "stg_end_sigma": 0.2,
    "modality_start_sigma": 0.7,
    "modality_end_sigma": 0.3,
}
VALUES = {
    "cfg": 4.0,
    "stg": 0.5,
    "stg_blocks": frozenset({14, 19}),
    "modality": 2.0,
    "rescale": 0.25,
    "skip_step": 2,
    "method": "apg",
    "eta": 0.75,
    "norm_threshold": 5.0,
    "momentum": -0.5,
    "cfg_sigmas": (0.1, 0.9),
    "stg_sigmas": (0.2, 0.8),
    "modality_sigmas": (0.3, 0.7),
}


@pytest.fixture
def nodes(pack, host):
    return pack("nodes.guidance")


@pytest.fixture
def guidance(pack):
    return pack("ltx2.guidance.guidance")


def test_cfg_alone_leaves_all_else_neutral(nodes, guidance):
    (made,) = nodes.MakeGuidance.execute(cfg=3.0).result
    assert made == guidance.Guidance(cfg=3.0)
    defaults = {each.id: each.default for each in nodes.MakeGuidance.define_schema().inputs}
    assert nodes.MakeGuidance.execute(**defaults).result == (guidance.Guidance(cfg=3.0),)


def test_every_widget_reaches_its_value(nodes, guidance):
    assert [each.id for each in nodes.MakeGuidance.define_schema().inputs] == list(WIDGETS)
    (made,) = nodes.MakeGuidance.execute(**WIDGETS).result
    assert vars(made) == VALUES


@pytest.mark.parametrize("text", ["28.5", "14 19", "14,,19", "-1", "all"])
def test_blocks_that_are_no_numbers_are_refused(pack, nodes, text):
    with pytest.raises(pack("ltx2.errors").LTX2Error, match="stg_blocks must be numbers with commas between"):
        nodes.MakeGuidance.execute(cfg=3.0, stg=1.0, stg_blocks=text)


def test_an_empty_text_is_the_releases_own_block(nodes):
    assert nodes.MakeGuidance.execute(cfg=3.0, stg=1.0, stg_blocks=" ").result[0].stg_blocks is None


def test_presets_give_video_and_audio(pack, nodes):
    presets = pack("ltx2.guidance.presets").PRESETS
    for name, pair in presets.items():
        assert nodes.GuidancePreset.execute(preset=name).result == pair
    video, audio = nodes.GuidancePreset.execute(preset="LTX-2 dev").result
    assert (video.cfg, audio.cfg) == (3.0, 7.0)


def test_guidance_by_sigma_chains(pack, nodes, guidance):
    first, second, third = (guidance.Guidance(cfg=cfg) for cfg in (8.0, 4.0, 1.0))
    (inner,) = nodes.GuidanceBySigma.execute(second, third, 0.5).result
    (table,) = nodes.GuidanceBySigma.execute(first, inner, 0.9).result
    assert [table.at(sigma).cfg for sigma in (1.0, 0.7, 0.2)] == [8.0, 4.0, 1.0]
    with pytest.raises(pack("ltx2.errors").LTX2Error, match="above must come from LTX-2 Guidance; got str"):
        nodes.GuidanceBySigma.execute("3", third, 0.5)


def test_the_guider_takes_tables_and_how_many_passes_run_together(pack, nodes, guidance, tiny_models):
    path = next((tiny_models("2.3") / "checkpoints").glob("*dev*"))
    transformer = pack("ltx2.recipe").TransformerRecipe.open(path)
    config = transformer.config
    widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
    prompt = pack("ltx2.sampling.denoiser").Context(*(torch.zeros(1, 128, width) for width in widths))
    (table,) = nodes.GuidanceBySigma.execute(guidance.Guidance(stg=1.0), guidance.NEUTRAL, 0.5).result
    (guider,) = nodes.MakeGuider.execute(transformer, prompt, video_guidance=table, passes_per_forward=2).result
    assert guider.prompts.passes_per_forward == 2
    assert guider.prompts.video.at(0.5).stg_blocks == {28 * config.num_layers // 48}
    assert guidance.guidance_at(guider.prompts.video, guider.prompts.audio, 0.5)[1].stg == 1.0
    assert guidance.guidance_at(guider.prompts.video, guider.prompts.audio, 0.4)[1].stg == 0.0
