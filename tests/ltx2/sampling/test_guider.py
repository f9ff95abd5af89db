"""Guiders: what an unconnected socket means, and what is refused."""

from dataclasses import replace

import pytest
import torch

from ltx2.checkpoint.lora_use import LoraUse
from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import FOLLOWING, Guidance, GuidanceTable, guidance_at
from ltx2.guidance.plan import plan
from ltx2.recipe import FileId, LoraEntry, TransformerRecipe
from ltx2.sampling.denoiser import Context
from ltx2.sampling.guider import Guider

CONFIG = TransformerConfig(cross_attention_dim=8, audio_cross_attention_dim=4, caption_projection=False)


@pytest.fixture
def recipe(tmp_path):
    def make(name):
        (tmp_path / name).write_bytes(b"")
        return TransformerRecipe(FileId.of(tmp_path / name), CONFIG, "2.0")

    return make


@pytest.fixture
def transformer(recipe):
    return recipe("file")


def context(video=8, audio=4):
    return Context(torch.zeros(1, 3, video), torch.zeros(1, 3, audio))


def scales(guider, sigma=0.5):
    return guidance_at(guider.prompts.video, guider.prompts.audio, sigma)


def test_without_guidance_it_is_the_distilled_guider(transformer):
    """Defect N9: no defaults are inherited, and a step is one pass."""
    guider = Guider.of(transformer, context())
    assert list(plan(*scales(guider))) == ["cond"]


def test_an_unconnected_audio_follows_the_video_and_an_explicit_zero_stays(transformer):
    """Defect 4: 0 is a value."""
    video, zero = Guidance(cfg=3.0), Guidance(cfg=0.0)
    assert [one.cfg for one in scales(Guider.of(transformer, context(), context(), video))] == [3, 3]
    assert [one.cfg for one in scales(Guider.of(transformer, context(), context(), video, zero))] == [3, 0]
    assert [one.cfg for one in scales(Guider.of(transformer, context(), context(), zero, video))] == [0, 3]


def test_guidance_for_audio_alone_leaves_the_video_neutral(transformer):
    found = scales(Guider.of(transformer, context(), context(), None, Guidance(cfg=7.0)))
    assert [one.cfg for one in found] == [1.0, 7.0]


def test_blocks_are_the_releases_own_unless_they_are_said(transformer):
    blocks = [one.stg_blocks for one in scales(Guider.of(transformer, context(), None, Guidance(stg=1.0)))]
    assert blocks == [{29}, {29}]
    said = Guidance(stg=1.0, stg_blocks=frozenset({3}))
    assert [one.stg_blocks for one in scales(Guider.of(transformer, context(), None, said))] == [{3}, {3}]
    assert [one.stg_blocks for one in scales(Guider.of(transformer, context(), None, None, said))] == [{29}, {3}]
    with pytest.raises(LTX2Error, match="must be 0 to 47"):
        Guider.of(transformer, context(), None, None, Guidance(stg=1.0, stg_blocks=frozenset({48})))


def test_a_table_needs_a_negative_prompt_where_any_row_does(transformer):
    table = GuidanceTable.split(Guidance(cfg=3.0, cfg_sigmas=(0.95, 1.0)), Guidance(), 0.9)
    with pytest.raises(LTX2Error, match="needs a negative prompt"):
        Guider.of(transformer, context(), None, table)
    never = GuidanceTable.split(Guidance(cfg=3.0, cfg_sigmas=(0.0, 0.5)), Guidance(), 0.9)
    assert Guider.of(transformer, context(), None, never, FOLLOWING).prompts.negative is None


def test_cfg_needs_a_negative_prompt(transformer):
    with pytest.raises(LTX2Error, match=r"needs a negative prompt; got cfg 3 \(video\)"):
        Guider.of(transformer, context(), None, Guidance(cfg=3.0))


def test_fewer_than_no_passes_are_refused(transformer):
    with pytest.raises(LTX2Error, match=r"passes_per_forward must be 0 \(as memory allows\) or more; got -1"):
        Guider.of(transformer, context(), passes_per_forward=-1)


def test_prompts_of_another_release_are_refused(transformer):
    with pytest.raises(LTX2Error, match="contexts 8 and 4 wide, got 6 and 6"):
        Guider.of(transformer, context(6, 6))


def test_only_an_empty_positive_prompt_warns(transformer, caplog):
    empty = Context(torch.zeros(1, 3, 8), torch.zeros(1, 3, 4), is_empty=True)
    Guider.of(transformer, context(), empty, Guidance(cfg=3.0))
    assert not caplog.records
    Guider.of(transformer, empty)
    assert "the positive prompt is empty" in caplog.text


def with_lora(transformer, path, strength):
    path.write_bytes(b"")
    return replace(transformer, loras=(LoraEntry(FileId.of(path), LoraUse(strength)),))


def test_cfg_on_a_distilled_model_warns(recipe, transformer, tmp_path, caplog):
    lora = tmp_path / "ltx-2-19b-distilled-lora-384.safetensors"
    for distilled in (recipe("ltx-2-19b-distilled.safetensors"), with_lora(transformer, lora, 1.0)):
        caplog.clear()
        Guider.of(distilled, context(), context(), Guidance(cfg=3.0))
        assert "burn the picture of a distilled model, which ltx-2-19b-distilled" in caplog.text
        caplog.clear()
        Guider.of(distilled, context(), context())
        assert not caplog.records
    # The high quality recipe guides with a little of the LoRA.
    Guider.of(with_lora(transformer, lora, 0.5), context(), context(), Guidance(cfg=3.0))
    assert not caplog.records
