"""Sounds to latents: the length asked for, silence behind what is there, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from ltx2.checkpoint import keys
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.audio_vae import AudioVAEConfig
from ltx2.config.section import parse
from ltx2.encoding import encode_sound
from ltx2.errors import LTX2Error
from ltx2.networks.audio_vae.model import AudioVAE

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


@pytest.fixture(scope="module")
def case(golden):
    return golden("audio_vae")


@pytest.fixture(scope="module")
def vae(case):
    config = parse(AudioVAEConfig, case.config["audio_vae"], "audio_vae")
    return build(lambda: AudioVAE(config), keys.AUDIO_VAE, InMemory(case.weights))


def tone(seconds: float, rate: int, channels: int = 2) -> dict:
    time = torch.arange(round(seconds * rate)) / rate
    waves = [0.4 * torch.sin(2 * math.pi * (300 + 200 * time) * time + channel) for channel in range(channels)]
    return {"waveform": torch.stack(waves)[None], "sample_rate": rate}


def test_a_waveform_becomes_the_latent_of_the_fixture(case, vae):
    sound = {"waveform": case.inputs["waveform_16k"], "sample_rate": 16000}
    latent = encode_sound(vae, sound, **CPU)
    torch.testing.assert_close(latent, case.outputs["latent_from_waveform"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_long_sound_is_cut_as_if_it_had_been_encoded_whole(vae, rate):
    sound = tone(3.0, rate)
    whole = encode_sound(vae, sound, **CPU)
    assert whole.shape[2] == 76
    cut = encode_sound(vae, sound, length=30, **CPU)
    assert cut.shape == (1, vae.config.latent_channels, 30, vae.config.latent_bins)
    torch.testing.assert_close(cut, whole[:, :, :30], atol=1e-5, rtol=0)


def test_what_a_short_sound_lacks_is_encoded_silence(vae):
    sound = tone(1.0, 48000)
    padded = encode_sound(vae, sound, length=75, **CPU)
    silence = torch.zeros(1, 2, 48000 * 3)
    expected = encode_sound(vae, {"waveform": silence, "sample_rate": 48000}, **CPU)
    assert padded.shape[2] == 75
    # The encoder looks back for less than a second.
    torch.testing.assert_close(padded[:, :, 60:], expected[:, :, 60:75], atol=1e-5, rtol=0)
    assert not torch.allclose(padded[:, :, 60:], torch.zeros(()), atol=1e-2)


def test_mono_is_heard_on_both_channels_and_a_batch_stays_one(vae):
    mono = tone(0.5, 24000, channels=1)
    stereo = {**mono, "waveform": mono["waveform"].expand(1, 2, -1)}
    assert torch.equal(encode_sound(vae, mono, **CPU), encode_sound(vae, stereo, **CPU))
    both = {**mono, "waveform": torch.cat((mono["waveform"], -0.5 * mono["waveform"]))}
    latents = encode_sound(vae, both, length=10, **CPU)
    assert latents.shape[0] == 2
    assert not torch.equal(latents[0], latents[1])


def test_the_start_is_in_seconds(vae):
    sound = tone(2.0, 16000)
    later = {**sound, "waveform": sound["waveform"][..., 8000:]}
    assert torch.equal(
        encode_sound(vae, sound, start=0.5, length=20, **CPU), encode_sound(vae, later, length=20, **CPU)
    )


def test_the_input_is_not_changed(vae):
    sound = tone(0.5, 16000)
    before = sound["waveform"].clone()
    encode_sound(vae, sound, length=40, **CPU)
    assert torch.equal(sound["waveform"], before)
    assert set(sound) == {"waveform", "sample_rate"}


@pytest.mark.parametrize(
    ("sound", "start", "message"),
    [
        (None, 0.0, "got none: the video is silent"),
        ({"samples": 1}, 0.0, "audio must be an AUDIO"),
        ({"waveform": torch.zeros(2, 100), "sample_rate": 16000}, 0.0, r"got a waveform \(2, 100\)"),
        ({"waveform": torch.zeros(1, 6, 16000), "sample_rate": 16000}, 0.0, "mix it down to stereo"),
        ({"waveform": torch.full((1, 2, 16000), math.nan), "sample_rate": 16000}, 0.0, "finite"),
        ({"waveform": torch.zeros(1, 2, 16000), "sample_rate": 0}, 0.0, "sampling rate must be positive"),
        ({"waveform": torch.zeros(1, 2, 100), "sample_rate": 16000}, 0.0, "must last at least"),
        ({"waveform": torch.zeros(1, 2, 16000), "sample_rate": 16000}, 1.0, "lasts 1.000 s; got 1 s"),
        ({"waveform": torch.zeros(1, 2, 16000), "sample_rate": 16000}, -0.5, "got -0.5 s"),
    ],
)
def test_what_is_no_usable_sound_is_refused(vae, sound, start, message):
    with pytest.raises(LTX2Error, match=message):
        encode_sound(vae, sound, start=start, **CPU)


def test_full_size_configuration_gives_25_latents_a_second():
    config = dataclasses.replace(AudioVAEConfig(), base_channels=4)
    network = AudioVAE(config)
    network.load_state_dict({name: torch.ones_like(value) * 0.01 for name, value in network.state_dict().items()})
    latent = encode_sound(network, tone(5.0, 48000), length=126, **CPU)
    assert latent.shape == (1, 8, 126, 16)
