"""The audio networks at their released widths on a few frames, against diffusers."""

import torch
from diffusers import AutoencoderKLLTX2Audio
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE

from ltx2.checkpoint import keys
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.audio_vae import AudioVAEConfig
from ltx2.config.section import parse
from ltx2.config.vocoder import VocoderConfig
from ltx2.networks.audio_vae.model import AudioVAE
from ltx2.networks.vocoder.model import Vocoder

THEIR_NAMES = (
    ("upsamplers.", "ups."),
    ("resnets.", "resblocks."),
    ("conv_in.", "conv_pre."),
    ("conv_out.", "conv_post."),
    ("act_out.", "act_post."),
    (".downsample.filter", ".downsample.lowpass.filter"),
)


def vocoder_weights(theirs: torch.nn.Module) -> dict[str, torch.Tensor]:
    weights = {}
    for name, tensor in theirs.state_dict().items():
        for a, b in THEIR_NAMES:
            name = name.replace(a, b)
        weights[f"vocoder.{name}"] = tensor
    return weights


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 1e-4  # not a comparison of zeros
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_audio_vae():
    torch.manual_seed(0)
    theirs = AutoencoderKLLTX2Audio().eval()
    weights = {f"audio_vae.{name}": tensor for name, tensor in theirs.state_dict().items() if "latents_" not in name}
    weights["audio_vae.per_channel_statistics.mean-of-means"] = torch.zeros(128)
    weights["audio_vae.per_channel_statistics.std-of-means"] = torch.ones(128)
    ours = build(lambda: AudioVAE(AudioVAEConfig()), keys.AUDIO_VAE, InMemory(weights))
    latent, mel = torch.randn(1, 8, 2, 16), torch.randn(1, 2, 5, 64)
    assert_close(ours.decode(latent), theirs.decode(latent).sample)
    assert_close(ours.encode(mel), theirs.encode(mel).latent_dist.mode())


@torch.no_grad()
def test_vocoder_20(golden_json):
    torch.manual_seed(0)
    theirs = LTX2Vocoder()
    config = parse(VocoderConfig, golden_json("config_20")["config"]["vocoder"], "vocoder")
    ours = build(lambda: Vocoder(config), keys.VOCODER, InMemory(vocoder_weights(theirs)))
    mel = torch.randn(1, 2, 2, 64)
    assert_close(ours(mel), theirs(mel))


@torch.no_grad()
def test_vocoder_23(golden_json):
    torch.manual_seed(0)
    theirs = LTX2VocoderWithBWE(final_act_fn="clamp")
    theirs.mel_stft.stft_fn.forward_basis.normal_()
    theirs.mel_stft.mel_basis.uniform_()
    config = parse(VocoderConfig, golden_json("config_23")["config"]["vocoder"], "vocoder")
    ours = build(lambda: Vocoder(config), keys.VOCODER, InMemory(vocoder_weights(theirs)))
    mel = torch.randn(1, 2, 1, 64)
    waveform = ours(mel)
    assert waveform.shape == (1, 2, 480)
    assert_close(waveform, theirs(mel))
