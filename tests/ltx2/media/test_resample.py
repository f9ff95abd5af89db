"""Hann-sinc resampling: the fixture, lengths, edges, and what it does to tones."""

import math

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.media.resample import resample, sinc_kernels


def tone(frequency: float, rate: int, seconds: float) -> torch.Tensor:
    return torch.sin(2 * math.pi * frequency * torch.arange(round(rate * seconds)) / rate)


def test_fixture(golden):
    case = golden("audio_vae")
    resampled = resample(case.inputs["waveform_44k"], 44100, 16000)
    torch.testing.assert_close(resampled, case.outputs["resampled_16k"], atol=2e-5, rtol=0)


def test_fixture_replicating_the_edges(golden):
    outputs = golden("vocoder_23").outputs
    skip = resample(outputs["waveform_16k"], 16000, 48000, edge="replicate")
    torch.testing.assert_close(skip, outputs["bwe_skip"], atol=2e-5, rtol=0)


def test_kernels_are_float32():
    kernels = sinc_kernels(441, 160)
    assert kernels.dtype == torch.float32
    assert kernels.shape == (160, 1, 441 + 2 * 17)


@pytest.mark.parametrize("old,new,samples", [(44100, 16000, 8821), (48000, 16000, 7), (16000, 48000, 5), (3, 2, 1)])
def test_length_is_rounded_up_and_leading_axes_stay(old, new, samples):
    waveform = torch.randn(2, 3, samples)
    assert resample(waveform, old, new).shape == (2, 3, math.ceil(samples * new / old))


def test_same_rate_is_the_same_tensor():
    waveform = torch.randn(1, 2, 50)
    assert resample(waveform, 16000, 16000) is waveform


def test_a_tone_below_the_new_limit_stays_and_one_above_goes():
    inside = slice(200, -200)
    low = resample(tone(1000, 48000, 0.2), 48000, 16000)
    torch.testing.assert_close(low[inside], tone(1000, 16000, 0.2)[inside], atol=2e-3, rtol=0)
    high = resample(tone(11000, 48000, 0.2), 48000, 16000)
    assert high[inside].abs().max() < 0.02


def test_edges():
    constant = torch.ones(1, 400)
    silence_around = resample(constant, 16000, 48000)
    replicated = resample(constant, 16000, 48000, edge="replicate")
    assert (silence_around - 1).abs().max() > 0.05  # it rings at the step
    torch.testing.assert_close(replicated, torch.ones(1, 1200), atol=5e-3, rtol=0)


def test_a_rate_that_is_none():
    with pytest.raises(LTX2Error, match="must be positive; got 0 and 16000"):
        resample(torch.ones(4), 0, 16000)


def test_kernels_made_under_inference_mode_and_meta_can_be_used_outside():
    sinc_kernels.cache_clear()
    with torch.inference_mode(), torch.device("meta"):
        sinc_kernels(5, 7)
    waveform = torch.randn(1, 40, requires_grad=True)
    resample(waveform, 5, 7).sum().backward()
    assert waveform.grad.abs().max() > 0
