"""Guiders: what an unconnected socket means, and what is refused."""

import pytest
import torch

from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import NEUTRAL, Guidance, plan
from ltx2.recipe import FileId, TransformerRecipe
from ltx2.sampling.denoiser import Context
from ltx2.sampling.guider import Guider

CONFIG = TransformerConfig(cross_attention_dim=8, audio_cross_attention_dim=4, caption_projection=False)


@pytest.fixture
def transformer(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    return TransformerRecipe(FileId.of(tmp_path / "file"), CONFIG, "2.3")


def context(video=8, audio=4):
    return Context(torch.zeros(1, 3, video), torch.zeros(1, 3, audio))


def test_without_guidance_it_is_the_distilled_guider(transformer):
    """Defect N9: no defaults are inherited, and a step is one pass."""
    guider = Guider.of(transformer, context())
    assert (guider.prompts.video, guider.prompts.audio) == (NEUTRAL, NEUTRAL)
    assert len(plan(guider.prompts.video, guider.prompts.audio)) == 1


def test_an_unconnected_audio_follows_the_video_and_an_explicit_zero_stays(transformer):
    """Defect 4: 0 is a value."""
    video, zero = Guidance(cfg=3.0), Guidance(cfg=0.0)
    assert Guider.of(transformer, context(), context(), video).prompts.audio == video
    assert Guider.of(transformer, context(), context(), video, zero).prompts.audio == zero
    assert Guider.of(transformer, context(), context(), zero, video).prompts.video == zero


def test_guidance_for_audio_alone_leaves_the_video_neutral(transformer):
    prompts = Guider.of(transformer, context(), context(), None, Guidance(cfg=7.0)).prompts
    assert prompts.video == NEUTRAL
    assert prompts.audio.cfg == 7.0


def test_cfg_needs_a_negative_prompt(transformer):
    with pytest.raises(LTX2Error, match=r"needs a negative prompt; got cfg 3 \(video\)"):
        Guider.of(transformer, context(), None, Guidance(cfg=3.0))


def test_prompts_of_another_release_are_refused(transformer):
    with pytest.raises(LTX2Error, match="contexts 8 and 4 wide, got 6 and 6"):
        Guider.of(transformer, context(6, 6))


def test_only_an_empty_positive_prompt_warns(transformer, caplog):
    empty = Context(torch.zeros(1, 3, 8), torch.zeros(1, 3, 4), is_empty=True)
    Guider.of(transformer, context(), empty, Guidance(cfg=3.0))
    assert not caplog.records
    Guider.of(transformer, empty)
    assert "the positive prompt is empty" in caplog.text
