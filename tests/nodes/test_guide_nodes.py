"""Guide nodes: what they make, what they refuse, and that large pictures are encoded in tiles."""

from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def vae(pack, checkpoint):
    return pack("ltx2.recipe").VideoVAERecipe.open(checkpoint)


@pytest.fixture
def transformer(pack, checkpoint):
    return pack("ltx2.recipe").TransformerRecipe.open(checkpoint)


@pytest.fixture
def controlled(transformer, tmp_path):
    """The transformer with an IC-LoRA whose references are half as large, one frame of four."""
    name, width = "transformer_blocks.0.attn1.to_q", transformer.config.video.width
    weights = {
        f"diffusion_model.{name}.lora_A.weight": torch.ones(1, width),
        f"diffusion_model.{name}.lora_B.weight": torch.ones(width, 1),
    }
    metadata = {"reference_downscale_factor": "2", "reference_temporal_scale_factor": "4"}
    save_file(weights, tmp_path / "control.safetensors", metadata)
    return transformer.with_lora(tmp_path / "control.safetensors", 1.0)


def latent(pack, height=2, width=2, frames=2):
    return {"samples": torch.zeros(1, 128, frames, height, width), "ltx2": pack("ltx2.latents").Clip(24.0)}


def sound_latent(pack, length=9):
    return {"samples": torch.zeros(1, 8, length, 16), "ltx2": pack("ltx2.latents").Clip(24.0)}


def voice():
    return {"waveform": torch.rand(1, 2, 8000) * 2 - 1, "sample_rate": 16000}


def guides_of(node, image, **options):
    (guides,) = node("LTX2_ImageGuide").execute(image=image, frame=0, strength=1.0, crf=0, **options).args
    return guides


def reference(node, images=None, **options):
    settings = {"strength": 1.0, "attention_strength": 1.0, "spatial_factor": 0, "temporal_factor": 0, **options}
    images = torch.rand(9, 64, 64, 3) if images is None else images
    (guides,) = node("LTX2_VideoReference").execute(images=images, **settings).args
    return guides


@pytest.mark.parametrize(
    "image", ["picture.png", torch.zeros(32, 32, 3), torch.zeros(1, 32, 32, 4), torch.zeros(0, 32, 32, 3), 3]
)
def test_an_image_must_be_one(node, error, image):
    with pytest.raises(error, match="image must be an IMAGE, .*; got .*: connect"):
        guides_of(node, image)
    with pytest.raises(error, match="images must be an IMAGE, .*; got .*: connect"):
        node("LTX2_VideoGuide").execute(images=image, frame=0, strength=1.0)
    with pytest.raises(error, match="images must be an IMAGE, .*; got .*: connect"):
        reference(node, image, spatial_factor=1, temporal_factor=1)


def test_only_one_picture_of_a_batch_is_shown_and_that_is_said(node, caplog):
    images = torch.rand(3, 32, 32, 3)
    with caplog.at_level(logging.WARNING, "ltx2"):
        (guide,) = guides_of(node, images)
    assert torch.equal(guide.image, images[:1])
    assert "the first of 3 images" in caplog.text


def test_pictures_without_values_are_refused(node, pack, error, vae):
    images = torch.rand(9, 64, 64, 3)
    images[4, 7, 7] = float("nan")
    (clip,) = node("LTX2_VideoGuide").execute(images=images, frame=0, strength=1.0).args
    for guides in (clip, reference(node, images, spatial_factor=1, temporal_factor=1)):
        with pytest.raises(error, match="must be a finite number; video VAE encode produced"):
            node("LTX2_ApplyGuides").execute(latent(pack), guides, vae)


def test_every_guide_must_be_one(node, pack, error, vae):
    image = torch.zeros(1, 32, 32, 3)
    for guides in ("text", ("text",), (*guides_of(node, image), 3)):
        with pytest.raises(error, match="must come from an LTX-2 guide node; got (str|int)"):
            node("LTX2_ApplyGuides").execute(video=latent(pack), guides=guides, video_vae=vae)
        with pytest.raises(error, match="must come from an LTX-2 guide node; got (str|int)"):
            guides_of(node, image, guides=guides)
        with pytest.raises(error, match="must come from an LTX-2 guide node; got (str|int)"):
            reference(node, spatial_factor=1, temporal_factor=1, guides=guides)


def test_pictures_are_encoded_in_tiles_where_memory_is_short(node, pack, host, vae, monkeypatch):
    """Where the automatic choice tiles, the result is the tiled encoding; elsewhere it is the whole one."""
    image = torch.rand(1, 64, 320, 3, generator=torch.Generator().manual_seed(3))

    def applied():
        out, _ = (
            node("LTX2_ApplyGuides")
            .execute(video=latent(pack, 2, 10), guides=guides_of(node, image), video_vae=vae)
            .args
        )
        return out["ltx2"].conditions[0].latent

    whole = applied()
    monkeypatch.setattr(host, "free_memory", lambda device=None: 1000)
    tiled = applied()
    assert tiled.shape == whole.shape == (1, 128, 1, 2, 10)
    assert not tiled.requires_grad
    assert not torch.equal(tiled, whole)
    torch.testing.assert_close(tiled[..., :1], whole[..., :1], rtol=0, atol=1e-2)


def test_all_kinds_of_guides_in_one_chain(node, pack, vae, audio_vae, controlled):
    guides = guides_of(node, torch.rand(1, 64, 64, 3))
    guides = guides_of(node, torch.rand(1, 64, 64, 3), append=True, guides=guides)
    (guides,) = node("LTX2_VideoGuide").execute(torch.rand(9, 64, 64, 3), 8, 1.0, guides).args
    mask = torch.rand(1, 64, 64)
    guides = reference(node, torch.rand(33, 64, 64, 3), transformer=controlled, guides=guides, mask=mask)
    (guides,) = node("LTX2_AudioReference").execute(voice(), guides).args
    (guides,) = node("LTX2_AudioReference").execute(sound_latent(pack, 3), guides).args
    video, audio = latent(pack, 2, 2, frames=5), sound_latent(pack, 34)
    out = node("LTX2_ApplyGuides").execute(video, guides, vae, audio, audio_vae).args
    states = pack("ltx2.latents").states_of(*out)
    # One image, two latents of a clip, and two of a reference at half the size, of one token each.
    assert states[0].num_appended == 4 + 2 * 4 + 2
    assert states[0].attention.rows(0, 1, torch.zeros(1)).shape == (1, 1, 1, 20 + 14)
    assert states[1].num_appended == out[1]["ltx2"].conditions[0].latent.shape[2] + 3
    assert states[0].mask[0, :4].sum() == 0
    assert video["ltx2"].conditions == audio["ltx2"].conditions == ()
    samples = pack("ltx2.latents").latents_of(states, *out)
    assert [result["ltx2"].conditions for result in samples] == [(), ()]


def test_guides_of_strength_0_change_nothing(node, pack, vae, error):
    masked = {**latent(pack), "noise_mask": torch.zeros(1, 1, 2, 1, 1)}
    (guides,) = node("LTX2_ImageGuide").execute(torch.rand(1, 64, 64, 3), 0, 0.0, 0).args
    (guides,) = node("LTX2_VideoGuide").execute(torch.rand(9, 64, 64, 3), 0, 0.0, guides).args
    guides = reference(node, strength=0.0, spatial_factor=1, temporal_factor=1, guides=guides)
    assert node("LTX2_ApplyGuides").execute(masked, guides, vae).args[0] is masked
    (wrong,) = node("LTX2_ImageGuide").execute(torch.rand(1, 64, 64, 3), 9, 0.0, 0).args
    with pytest.raises(error, match="frame must be -9 to 8"):
        node("LTX2_ApplyGuides").execute(masked, wrong, vae)


def test_sound_passes_through_untouched_without_voices(node, pack, vae):
    audio = {"samples": torch.zeros(1, 8, 9, 16)}
    guides = guides_of(node, torch.rand(1, 64, 64, 3))
    assert node("LTX2_ApplyGuides").execute(latent(pack), guides, vae, audio).args[1] is audio
    assert node("LTX2_ApplyGuides").execute(latent(pack), guides, vae).args[1] is None


def test_voices_need_sound_to_be_for_and_a_network_to_encode_them(node, pack, error, vae):
    apply = node("LTX2_ApplyGuides").execute
    (heard,) = node("LTX2_AudioReference").execute(voice()).args
    (encoded,) = node("LTX2_AudioReference").execute(sound_latent(pack)).args
    with pytest.raises(error, match="must have an audio latent that it is for; got none: connect audio"):
        apply(latent(pack), encoded, vae)
    with pytest.raises(error, match="must be encoded; got no audio_vae: connect it"):
        apply(latent(pack), heard, vae, sound_latent(pack))
    video, audio = apply(latent(pack), encoded, vae, sound_latent(pack)).args
    assert len(audio["ltx2"].conditions) == 1
    assert video["ltx2"].conditions == ()


@pytest.mark.parametrize("sound", [{}, {"samples": torch.zeros(1, 128, 2, 2, 2)}, "voice.wav", None])
def test_a_voice_must_be_sound(node, error, sound):
    with pytest.raises(error):
        node("LTX2_AudioReference").execute(sound)


def test_the_ic_lora_says_how_small_references_are(node, error, transformer, controlled, caplog):
    (guide,) = reference(node, transformer=controlled)
    assert (guide.spatial, guide.temporal) == (2, 4)
    assert not caplog.text
    with pytest.raises(error, match="got spatial_factor 0 and no IC-LoRA: connect the transformer"):
        reference(node)
    with pytest.raises(error, match="got temporal_factor 0 and no IC-LoRA"):
        reference(node, transformer=transformer, spatial_factor=2)
    with pytest.raises(error, match="transformer must come from an LTX-2 loader; got str"):
        reference(node, transformer="dev")


def test_factors_that_the_ic_lora_does_not_know_are_warned_about(node, transformer, controlled, caplog):
    caplog.set_level(logging.WARNING, "ltx2")
    (guide,) = reference(node, transformer=controlled, spatial_factor=1)
    assert (guide.spatial, guide.temporal) == (1, 4)
    assert "factors (1, 4) are set, the IC-LoRA was trained with (2, 4)" in caplog.text
    caplog.clear()
    reference(node, transformer=transformer, spatial_factor=1, temporal_factor=1)
    assert "without an IC-LoRA a reference does little" in caplog.text


def test_what_does_not_fit_is_refused_before_a_network_is_loaded(node, pack, error, vae, host):
    (guides,) = node("LTX2_VideoGuide").execute(torch.rand(17, 64, 64, 3), 0, 1.0).args
    with pytest.raises(error, match="must end within the clip of 9 frames"):
        node("LTX2_ApplyGuides").execute(latent(pack), guides, vae)
    assert "encode guides" not in host.stream.getvalue()
