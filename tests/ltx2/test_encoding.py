"""Sounds and clips to latents: the size and length asked for, silence behind a sound, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest
import torch

from ltx2.checkpoint import keys
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.audio_vae import AudioVAEConfig
from ltx2.config.section import parse
from ltx2.config.video_vae import VideoVAEConfig
from ltx2.encoding import encode_footage, encode_sound, frozen, own_canvas, sound_of
from ltx2.errors import LTX2Error
from ltx2.geometry import Canvas
from ltx2.media.reader import Pictures
from ltx2.networks.audio_vae.model import AudioVAE
from ltx2.networks.video_vae import VideoVAE
from ltx2.runtime.tiled_vae import encode_frames, encode_video
from ltx2.runtime.tiling import Tiling

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
        ({"waveform": torch.zeros(1, 2, 0), "sample_rate": 16000}, 0.0, "must have samples.*connect another"),
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


@pytest.fixture(scope="module")
def video_vae(golden):
    case = golden("video_vae_23")
    config = parse(VideoVAEConfig, case.config["vae"], "vae")
    return build(lambda: VideoVAE(config), keys.VIDEO_VAE, InMemory(case.weights))


def pictures(count: int, height: int = 64, width: int = 96) -> torch.Tensor:
    """Moving colours in eight bits, (count, height, width, 3)."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(count, height, width, 3, generator=generator) * 255).round() / 255


def prepared(images: torch.Tensor) -> torch.Tensor:
    return (images * 2 - 1).permute(3, 0, 1, 2)[None]


@pytest.mark.parametrize("tiling", [None, Tiling(frames=(24, 16), width=(96, 64))])
def test_a_stream_of_pictures_is_encoded_as_the_whole_clip_is(video_vae, tiling):
    images = pictures(33, 32, 160)
    whole = encode_video(video_vae, prepared(images), tiling)
    steps, alive = [], []

    def stream():
        for number, image in enumerate(images):
            alive.append((len(steps), number))
            yield (image * 255).to(torch.uint8)

    on_step = lambda done, total: steps.append((done, total))  # noqa: E731
    latent = encode_frames(video_vae, stream(), (33, 32, 160), tiling, **CPU, on_step=on_step)
    torch.testing.assert_close(latent, whole, atol=1e-5, rtol=0)
    assert steps[-1][0] == steps[-1][1] == len(steps) - 1
    if tiling:
        assert alive[-1][0] > 0, "pictures must be read while tiles are encoded"


def test_footage_fills_the_canvas(video_vae):
    images = pictures(20, 64, 96)
    latent = encode_footage(video_vae, Pictures(images, Fraction(24)), Canvas(96, 64, 17, 24.0), tiling=None, **CPU)
    torch.testing.assert_close(latent, video_vae.encode(prepared(images[:17])), atol=1e-5, rtol=0)
    other = encode_footage(video_vae, Pictures(images, Fraction(24)), Canvas(64, 64, 9, 12.0), tiling=None, **CPU)
    expected = video_vae.encode(prepared(images[:17:2, :, 16:80]))
    torch.testing.assert_close(other, expected, atol=1e-5, rtol=0)


def test_larger_pictures_are_scaled_to_cover(video_vae):
    grey = torch.full((9, 100, 200, 3), 0.25)
    grey[:, :, 150:] = 1  # outside the middle
    latent = encode_footage(video_vae, Pictures(grey, Fraction(24)), Canvas(32, 64, 9, 24.0), tiling=None, **CPU)
    expected = torch.full((9, 64, 32, 3), round(0.25 * 255) / 255)
    torch.testing.assert_close(latent, video_vae.encode(prepared(expected)), atol=1e-5, rtol=0)


def test_the_canvas_of_footage_is_what_the_vae_can_take(caplog):
    caplog.set_level("INFO", "ltx2")
    exact = own_canvas(Pictures(torch.zeros(17, 64, 96, 3), Fraction(24)))
    assert (exact, caplog.text) == (Canvas(96, 64, 17, 24.0), "")
    snapped = own_canvas(Pictures(torch.zeros(24, 70, 100, 3), Fraction(30000, 1001)))
    assert snapped == Canvas(96, 64, 17, 30000 / 1001)
    assert "has 24 frames of 100x70; its first 17 are encoded, cropped to 96x64" in caplog.text
    with pytest.raises(LTX2Error, match="at least 32x32 pixels; .* 100x20"):
        own_canvas(Pictures(torch.zeros(9, 20, 100, 3), Fraction(24)))


def test_footage_shorter_than_the_canvas_is_refused(video_vae):
    with pytest.raises(LTX2Error, match="25 frames at 24 per second; .* has 20 .*: set frames to 17"):
        encode_footage(video_vae, Pictures(pictures(20), Fraction(24)), Canvas(96, 64, 25, 24.0), tiling=None, **CPU)


def test_the_sound_of_footage_lasts_as_long_as_the_canvas():
    sound = tone(3.0, 48000)
    footage = Pictures(pictures(49), Fraction(24), sound)
    heard = sound_of(footage, Canvas(96, 64, 25, 24.0))
    assert torch.equal(heard["waveform"], sound["waveform"][..., :50000])
    assert sound_of(Pictures(pictures(49), Fraction(24)), Canvas(96, 64, 25, 24.0)) is None


def test_frozen_latents_have_a_mask_of_zeros_and_are_new():
    for shape, mask in (((2, 128, 3, 2, 4), (2, 1, 3, 1, 1)), ((2, 8, 5, 16), (2, 1, 5, 1))):
        latent = {"samples": torch.ones(shape), "ltx2": "clip"}
        kept = frozen(latent)
        assert torch.equal(kept["noise_mask"], torch.zeros(mask))
        assert kept["samples"] is latent["samples"]
        assert kept["ltx2"] == "clip"
        assert "noise_mask" not in latent
    for wrong in (None, {"samples": torch.ones(1, 2, 3)}, torch.ones(1)):
        with pytest.raises(LTX2Error, match="video latent must be"):
            frozen(wrong)
