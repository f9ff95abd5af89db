"""Guides on their way through sampling: they steer the clip, are dropped after it, and leave everything else alone."""

from __future__ import annotations

import logging

import pytest
import torch

CONTEXT_SLOTS = 128
SIGMAS = torch.tensor([1.0, 0.7, 0.0])


@pytest.fixture
def node(pack, host):
    """`node("LTX2_ApplyGuides", ...)` is what that node gives."""
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    return lambda node_id, **inputs: classes[node_id].execute(**inputs).args


@pytest.fixture
def checkpoint(tiny_models):
    return next((tiny_models("2.3") / "checkpoints").glob("*distilled*"))


@pytest.fixture
def transformer(pack, checkpoint):
    return pack("ltx2.recipe").TransformerRecipe.open(checkpoint)


@pytest.fixture
def controlled(transformer, tiny_models):
    """The transformer with a control LoRA whose references are half as large."""
    (path,) = (tiny_models("2.3") / "loras").glob("*ic-lora*ref0.5*")
    return transformer.with_lora(path, 1.0)


@pytest.fixture
def sample(node, pack, transformer):
    """`sample(video, audio)` is LTX-2 Sample with the tiny distilled transformer, two steps."""
    config, generator = transformer.config, torch.Generator().manual_seed(1)
    widths = config.cross_attention_dim, config.audio_cross_attention_dim
    contexts = (torch.randn(1, CONTEXT_SLOTS, width, generator=generator) for width in widths)
    prompt = pack("ltx2.sampling.denoiser").Context(*contexts)

    def run(video, audio=None, recipe=transformer, solver="euler"):
        guider = pack("ltx2.sampling.guider").Guider.of(recipe, prompt)
        return node("LTX2_Sample", guider=guider, sigmas=SIGMAS, solver=solver, seed=3, video=video, audio=audio)

    return run


@pytest.fixture
def clip(pack):
    """Empty latents of 9 frames, 64 x 64."""
    return pack("ltx2.latents").empty(pack("ltx2.geometry").Canvas(64, 64, 9, 24.0), 1)


@pytest.fixture
def apply(node, pack, checkpoint, clip):
    """`apply(guides)` are both latents with `guides`."""
    recipe = pack("ltx2.recipe")
    vaes = {"video_vae": recipe.VideoVAERecipe.open(checkpoint), "audio_vae": recipe.AudioVAERecipe.open(checkpoint)}
    return lambda guides: node("LTX2_ApplyGuides", video=clip[0], audio=clip[1], guides=guides, **vaes)


def reference(node, guides=(), *, seed=0, attention=1.0, **options):
    images = torch.rand(9, 64, 64, 3, generator=torch.Generator().manual_seed(seed))
    settings = {"strength": 1.0, "attention_strength": attention, "spatial_factor": 2, "temporal_factor": 1, **options}
    return node("LTX2_VideoReference", images=images, guides=guides, **settings)[0]


def voice(node, guides=()):
    sound = torch.rand(1, 1, 8000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return node("LTX2_AudioReference", audio={"waveform": sound, "sample_rate": 16000}, guides=guides)[0]


@pytest.mark.parametrize("solver", ["euler", "res_2s"])
def test_conditions_steer_both_modalities_and_are_dropped(node, sample, apply, clip, pack, solver):
    guides = voice(node, reference(node, reference(node, attention=0.5), seed=1))
    given = apply(guides)
    before = [condition.latent.clone() for latent in given for condition in latent["ltx2"].conditions]
    plain, guided = sample(*clip, solver=solver), sample(*given, solver=solver)
    for old, new, empty in zip(plain, guided, clip, strict=True):
        assert set(new) == {"samples", "ltx2"}
        assert new["ltx2"].conditions == ()
        assert new["samples"].shape == empty["samples"].shape
        assert torch.isfinite(new["samples"]).all()
        assert not torch.allclose(new["samples"], old["samples"], atol=1e-3)
    for latent in clip:
        assert not latent["samples"].any()
        assert latent["ltx2"].conditions == ()
    after = [condition.latent for latent in given for condition in latent["ltx2"].conditions]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    again = sample(*given, solver=solver)
    assert all(torch.equal(one["samples"], two["samples"]) for one, two in zip(guided, again, strict=True))


def test_a_reference_that_the_clip_does_not_see_changes_nothing(node, sample, apply, clip):
    """Of silent video: sound looks at reference tokens as at all others, whatever the strength."""
    old, _ = sample(clip[0])
    for attention in (0.0, 0.5):
        video, _ = apply(reference(node, attention=attention))
        new, _ = sample(video)
        assert torch.allclose(new["samples"], old["samples"], atol=1e-5) == (attention == 0)


def test_a_frame_guide_of_full_strength_is_in_the_clip(node, sample, apply):
    image = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    (guides,) = node("LTX2_ImageGuide", image=image, frame=0, strength=1.0, crf=0)
    given = apply(guides)
    video, _ = sample(*given)
    assert torch.equal(video["samples"][:, :, :1], given[0]["ltx2"].conditions[0].latent)


def test_an_ic_lora_and_its_reference_belong_together(node, sample, apply, clip, controlled, caplog):
    caplog.set_level(logging.WARNING, "ltx2")
    referenced = apply(reference(node, transformer=controlled, spatial_factor=0, temporal_factor=0))
    assert not caplog.text
    sample(*referenced, recipe=controlled)
    assert not caplog.text
    sample(*clip, recipe=controlled)
    assert "no reference is given: add LTX-2 Video Reference" in caplog.text
    caplog.clear()
    sample(*referenced)
    assert "add the IC-LoRA, or expect the reference to do little" in caplog.text


def test_longer_than_the_model_can_place_is_refused_before_it_is_loaded(sample, pack, host):
    long = {"samples": torch.zeros(1, 128, 62, 1, 1), "ltx2": pack("ltx2.latents").Clip(24.0)}
    with pytest.raises(
        pack("ltx2.errors").LTX2Error, match=r"the 20 s that this transformer can place; got .* 20\.38 s"
    ):
        sample(long)
    assert "sample" not in host.stream.getvalue()
