"""The bridges where there is no ComfyUI: what needs none of its classes works, the rest says where it works."""

from __future__ import annotations

import pytest
import torch


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def video(pack):
    return {"samples": drawn(1, 128, 3, 2, 2), "ltx2": pack("ltx2.latents").Clip(24.0)}


@pytest.fixture
def text_encoder(pack, tiny_models):
    models = tiny_models("2.3")
    gemma, checkpoint = next((models / "text_encoders").iterdir()), next((models / "checkpoints").glob("*dev*"))
    return pack("ltx2.recipe").TextEncoderRecipe.open(gemma, checkpoint)


@pytest.fixture
def guider(pack, checkpoint):
    transformer = pack("ltx2.recipe").TransformerRecipe.open(checkpoint)
    config = transformer.config
    context = pack("ltx2.sampling.denoiser").Context(
        drawn(1, 128, config.cross_attention_dim), drawn(1, 128, config.audio_cross_attention_dim)
    )
    return pack("ltx2.sampling.guider").Guider.of(transformer, context)


def test_one_latent_alone_is_plain_and_comes_back(node, video):
    (there,) = node("LTX2_LatentsToComfyUI").execute(video=video).args
    assert torch.equal(there["samples"], video["samples"])
    back, sound = node("LTX2_LatentsFromComfyUI").execute(latent=there, frame_rate=0.0).args
    assert torch.equal(back["samples"], video["samples"])
    assert back["ltx2"].frame_rate == 24.0
    assert sound is None


def test_what_only_comfyui_has_is_refused_with_what_to_use(node, error, video, guider, text_encoder):
    audio = {"samples": drawn(1, 8, 18, 16), "ltx2": video["ltx2"]}
    for node_id, inputs in (
        ("LTX2_LatentsToComfyUI", {"video": video, "audio": audio}),
        ("LTX2_GuiderToComfyUI", {"guider": guider, "video": video}),
        ("LTX2_EncodePromptForComfyUI", {"text_encoder": text_encoder, "text": "a boat", "frame_rate": 24.0}),
    ):
        with pytest.raises(error, match="must run in ComfyUI; this is the command line: use LTX-2 Sample"):
            node(node_id).execute(**inputs)


def test_a_prompt_goes_there_and_comes_back_without_the_encoder_being_loaded(node, pack, text_encoder, host):
    config = text_encoder.connectors
    context = pack("ltx2.sampling.denoiser").Context(drawn(1, 128, config.video_dim), drawn(1, 128, config.audio_dim))
    (there,) = node("LTX2_ConditioningToComfyUI").execute(conditioning=context, frame_rate=30).args
    back, rate = node("LTX2_ConditioningFromComfyUI").execute(conditioning=there, text_encoder=text_encoder).args
    assert torch.equal(back.video, context.video)
    assert torch.equal(back.audio, context.audio)
    assert rate == 30.0
    assert host.stream.getvalue() == ""


def test_a_prompt_before_the_connectors_goes_through_ours(node, pack, text_encoder, host):
    device, dtype = torch.device("cpu"), torch.float32
    prompts = pack("ltx2.interop.prompts")
    (encoder,) = pack("nodes.host.networks").borrow(text_encoder)
    conditioning = prompts.unprocessed(prompts.features(encoder, "a red boat", device, dtype), 24.0)
    assert conditioning[0][0].shape[1] < 128  # the prompt's own tokens, not the slots of a context
    back, _ = node("LTX2_ConditioningFromComfyUI").execute(conditioning=conditioning, text_encoder=text_encoder).args
    expected, _ = encoder("a red boat", device=device, dtype=dtype)
    assert torch.equal(back.video, expected)
