"""Audio VAE: fixtures, released names, diffusers, exact lengths, and answers to bad input."""

import dataclasses

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio

from ltx2.checkpoint import keys
from ltx2.checkpoint.load import InMemory, audit, build, on_meta
from ltx2.config.audio_vae import AudioVAEConfig
from ltx2.config.section import parse
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.audio_vae.mel import log_mel, mel_filters
from ltx2.networks.audio_vae.model import AudioVAE

TINY = AudioVAEConfig(base_channels=4, num_res_blocks=1, latent_channels=2, mel_bins=16)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def randomised(config: AudioVAEConfig, seed: int = 0) -> AudioVAE:
    generator = torch.Generator().manual_seed(seed)
    network = AudioVAE(config)
    for tensor in network.state_dict().values():
        fan_in = max(1, tensor[0].numel())
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)
    network.statistics.std.abs_().add_(0.5)
    return network


@pytest.fixture(scope="module")
def case(golden):
    return golden("audio_vae")


@pytest.fixture(scope="module")
def config(case):
    return parse(AudioVAEConfig, case.config["audio_vae"], "audio_vae")


@pytest.fixture(scope="module")
def network(case, config):
    return build(lambda: AudioVAE(config), keys.AUDIO_VAE, InMemory(case.weights))


def test_fixture_encode(case, network):
    assert_close(network.encode(case.inputs["mel"]), case.outputs["latent"])


def test_fixture_decode(case, network):
    assert_close(network.decode(case.inputs["latent"]), case.outputs["mel"])


@pytest.mark.parametrize("bins", [8, 64])
def test_fixture_mel_filters(case, config, bins):
    assert_close(mel_filters(dataclasses.replace(config, mel_bins=bins)), case.outputs[f"mel_filter_{bins}"], 1e-6)


@pytest.mark.parametrize("bins", [8, 64])
def test_fixture_mel_front_end(case, config, bins):
    mel = log_mel(case.inputs["waveform_16k"], 16000, dataclasses.replace(config, mel_bins=bins))
    assert_close(mel, case.outputs[f"mel_front_{bins}"], 1e-4)


def test_fixture_mel_front_end_at_another_rate(case, config):
    mel = log_mel(case.inputs["waveform_44k"], 44100, dataclasses.replace(config, mel_bins=64))
    assert_close(mel, case.outputs["mel_front_64_from_44k"], 1e-4)


def test_fixture_waveform_to_latent(case, network):
    assert_close(network.encode_waveform(case.inputs["waveform_16k"], 16000), case.outputs["latent_from_waveform"])


@pytest.mark.parametrize("version", ["20", "23"])
def test_released_names_and_shapes(golden_json, version):
    config = parse(AudioVAEConfig, golden_json(f"config_{version}")["config"]["audio_vae"], "audio_vae")
    assert config == AudioVAEConfig()
    manifest = golden_json(f"manifest_{version}")
    parts = ("audio_vae_encoder", "audio_vae_decoder", "audio_vae_statistics")
    shapes = {key: shape for part in parts for key, shape in manifest[part].items()}
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    found = audit(on_meta(lambda: AudioVAE(config)), keys.AUDIO_VAE, InMemory(tensors))
    assert sorted(found.values()) == sorted(shapes)


def test_geometry_of_the_released_config():
    config = AudioVAEConfig()
    assert (config.ratio, config.latent_bins, config.token_channels) == (4, 16, 128)
    assert config.latents_per_second == 25
    assert config.mel_frames(126) == 501


@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (2, 1, 3), (1, 1, 2, 2)])
@torch.no_grad()
def test_ratios_follow_the_config_and_decoded_lengths_are_exact(multipliers):
    config = dataclasses.replace(TINY, channel_multipliers=multipliers)
    network = randomised(config)
    assert config.ratio == 2 ** (len(multipliers) - 1)
    for frames in (1, 2, 5):
        mel = network.decode(torch.randn(1, 2, frames, config.latent_bins))
        assert mel.shape == (1, 2, config.ratio * (frames - 1) + 1, 16) == (1, 2, config.mel_frames(frames), 16)
        assert mel.flatten(3).abs().amax(dim=(0, 1, 3)).min() > 0  # no frame is padding
        assert network.encode(mel).shape == (1, 2, frames, config.latent_bins)


@torch.no_grad()
def test_time_is_causal_both_ways():
    network = randomised(TINY)
    mel, latent = torch.randn(1, 2, 17, 16), torch.randn(1, 2, 5, 4)
    assert_close(network.encode(mel)[:, :, :3], network.encode(mel[:, :, :9]), 1e-5)
    assert_close(network.decode(latent)[:, :, :9], network.decode(latent[:, :, :3]), 1e-5)


@torch.no_grad()
def test_parity_with_diffusers():
    config = AudioVAEConfig(
        base_channels=12, channel_multipliers=(1, 3, 2), num_res_blocks=3, latent_channels=3, mel_bins=16
    )
    torch.manual_seed(1)
    theirs = AutoencoderKLLTX2Audio(
        base_channels=12, ch_mult=(1, 3, 2), num_res_blocks=3, latent_channels=3, mel_bins=16
    ).eval()
    weights = {f"audio_vae.{name}": tensor for name, tensor in theirs.state_dict().items() if "latents_" not in name}
    weights["audio_vae.per_channel_statistics.mean-of-means"] = torch.zeros(12)
    weights["audio_vae.per_channel_statistics.std-of-means"] = torch.ones(12)
    ours = build(lambda: AudioVAE(config), keys.AUDIO_VAE, InMemory(weights))
    mel, latent = torch.randn(2, 2, 14, 16), torch.randn(2, 3, 5, 4)
    assert_close(ours.encode(mel), theirs.encode(mel).latent_dist.mode(), 1e-5)
    assert_close(ours.decode(latent), theirs.decode(latent).sample, 1e-5)


def test_every_parameter_matters():
    network = randomised(TINY)
    mel = network.decode(torch.randn(1, 2, 4, 4))
    (mel * torch.randn_like(mel)).sum().backward()
    latent = network.encode(torch.randn(1, 2, 13, 16))
    (latent * torch.randn_like(latent)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@torch.no_grad()
def test_bf16_weights_are_cast_to_the_input():
    weights = {keys.AUDIO_VAE.to_theirs(n): t.bfloat16() for n, t in randomised(TINY).state_dict().items()}
    stored = build(lambda: AudioVAE(TINY), keys.AUDIO_VAE, InMemory(weights))
    upcast = build(lambda: AudioVAE(TINY), keys.AUDIO_VAE, InMemory({k: t.float() for k, t in weights.items()}))
    latent = torch.randn(1, 2, 3, 4)
    assert torch.equal(stored.decode(latent), upcast.decode(latent))
    assert stored.decode(latent.bfloat16()).dtype == torch.bfloat16
    assert stored.encode_waveform(torch.randn(1, 2, 700).bfloat16(), 16000).dtype == torch.bfloat16


def test_mono_is_heard_on_both_channels():
    mono = torch.randn(1, 1, 2000)
    mel = log_mel(mono, 22050, TINY)
    assert torch.equal(mel[:, 0], mel[:, 1])
    assert torch.equal(mel, log_mel(mono.expand(1, 2, -1), 22050, TINY))


def test_the_front_end_is_float32_whatever_comes_in():
    waveform = torch.randn(1, 2, 2000).bfloat16()
    assert torch.equal(log_mel(waveform, 16000, TINY), log_mel(waveform.float(), 16000, TINY))


def test_bad_input_is_answered():
    network = AudioVAE(TINY)
    with pytest.raises(LTX2Error, match=r"1 or 2 channels.*got \(1, 6, 4000\); mix it down"):
        network.encode_waveform(torch.zeros(1, 6, 4000), 48000)
    with pytest.raises(LTX2Error, match="at least 0.032 s .*got 500 samples; use a longer clip"):
        network.encode_waveform(torch.zeros(1, 2, 500), 16000)
    with pytest.raises(LTX2Error, match=r"audio latent must be \(batch, 2, frames, 4\); got \(1, 8, 3, 16\)"):
        network.decode(torch.zeros(1, 8, 3, 16))
    with pytest.raises(LTX2Error, match=r"mel spectrogram must be \(batch, 2, frames, 16\); got \(1, 2, 0, 16\)"):
        network.encode(torch.zeros(1, 2, 0, 16))


def test_every_problem_of_a_config_is_reported_at_once():
    raw = {"model": {"params": {"ddconfig": {"norm_type": "group", "ch_mult": [1, 2, 4], "mel_bins": 30}}}}
    with pytest.raises(ModelFileError) as caught:
        parse(AudioVAEConfig, raw, "audio_vae")
    assert "norm_type = 'group' is not supported (supported: 'pixel')" in str(caught.value)
    assert "mel_bins must be a multiple of 4" in str(caught.value)
    assert "got 30" in str(caught.value)


def test_downsample_time_means_nothing():
    raw = {"model": {"params": {"ddconfig": {"downsample_time": False}}}}
    assert parse(AudioVAEConfig, raw, "audio_vae").ratio == 4
