"""Colours fitted to a decoder: exact where it is linear, and far better than chance where it is a real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.preview.colours import CLIPS, GRID, fit, made_up, mean_colours
from ltx2.recipe import VideoVAERecipe

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


class LinearVAE:
    """Decodes a cell to its colour by a matrix, with a texture around it that has no mean."""

    def __init__(self, channels=128):
        self.matrix = torch.randn(3, channels, generator=generator()) / channels**0.5
        self.bias = torch.tensor([0.3, -0.2, 0.1])
        self.config = SimpleNamespace(latent_channels=channels, compression=(8, 32, 32))
        self.decoded = []

    def decode(self, latent, *, noise=None, generator=None):
        self.decoded.append(latent)
        small = torch.einsum("kc,bcfhw->bkfhw", self.matrix.to(latent), latent) + self.bias.to(latent).view(3, 1, 1, 1)
        frames = torch.cat((small[:, :, :1], small[:, :, 1:].repeat_interleave(8, 2)), 2)
        frames = frames.repeat_interleave(32, 3).repeat_interleave(32, 4)
        return frames + 0.5 * (torch.arange(frames.shape[4]) % 2 - 0.5)


def correlation(one, other):
    """Of each colour over all cells, 1 for the same but for scale and offset."""
    one, other = (value.flatten(2) - value.flatten(2).mean(2, keepdim=True) for value in (one, other))
    return ((one * other).sum(2) / (one.norm(dim=2) * other.norm(dim=2)))[0]


def test_a_linear_decoder_is_recovered():
    vae = LinearVAE()
    colours = fit(vae, **CPU)
    assert (colours.matrix - vae.matrix).abs().max() < 1e-4
    assert (colours.bias - vae.bias).abs().max() < 1e-4
    assert [tuple(latent.shape) for latent in vae.decoded] == [(1, 128, *GRID)] * CLIPS


def test_the_first_frame_is_a_cell_of_its_own():
    frames = torch.zeros(1, 3, 9, 64, 32)
    frames[:, 0, 0], frames[:, 1, 1:5], frames[:, 2, :, 32:] = 1.0, 0.5, -1.0
    small = mean_colours(frames, (8, 32, 32))
    assert small.shape == (1, 3, 2, 2, 1)
    assert small[0, :, 0, :, 0].tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, -1.0]]
    assert small[0, :, 1, :, 0].tolist() == [[0.0, 0.0], [0.25, 0.25], [0.0, -1.0]]
    assert mean_colours(frames[:, :, :1], (8, 32, 32)).shape == (1, 3, 1, 2, 1)


def test_colours_of_a_latent_are_a_frame_for_each_of_its_frames():
    colours = fit(LinearVAE(), **CPU)
    latent = made_up(128, (5, 4, 6), generator(3))
    assert colours(latent).shape == (1, 3, 5, 4, 6)
    cell = colours.matrix @ latent[0, :, 2, 1, 3] + colours.bias
    assert torch.allclose(colours(latent)[0, :, 2, 1, 3], cell, atol=1e-5)
    assert torch.equal(colours(latent.double()), colours(latent))


@pytest.fixture(scope="module")
def vae(tiny_models):
    return VideoVAERecipe.open(next((tiny_models("2.3") / "checkpoints").glob("*dev*"))).build()


class SaturatingVAE(LinearVAE):
    """Nearly a trained one: colours are limited, and every cell is blurred into its neighbours."""

    def decode(self, latent, *, noise=None, generator=None):
        blurred = torch.nn.functional.avg_pool3d(latent, 3, 1, 1, count_include_pad=False)
        return torch.tanh(super().decode(0.6 * latent + 0.4 * blurred))


def test_what_was_never_seen_is_predicted_far_better_than_by_chance():
    vae = SaturatingVAE()
    colours = fit(vae, **CPU)
    latent = made_up(128, (5, 10, 12), generator(7))
    decoded = mean_colours(vae.decode(latent), vae.config.compression)
    by_chance = correlation(colours(made_up(128, (5, 10, 12), generator(8))), decoded)
    found = correlation(colours(latent), decoded)
    assert (found > 0.8).all(), found
    assert (by_chance.abs() < 0.5).all(), by_chance


def test_fits_are_the_same_to_the_last_bit_and_stop_when_told(vae):
    steps = []
    with torch.no_grad():
        one = fit(vae, **CPU, on_step=lambda *step: steps.append(step))
        assert torch.isfinite(one.matrix).all()
        torch.manual_seed(5)
        other = fit(vae, **CPU)
    assert torch.equal(one.matrix, other.matrix)
    assert torch.equal(one.bias, other.bias)
    assert steps == [(done, CLIPS) for done in range(CLIPS)]

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    linear = LinearVAE()
    with pytest.raises(KeyboardInterrupt):
        fit(linear, **CPU, on_step=stop)
    assert len(linear.decoded) == 2


def test_an_encoder_alone_is_refused(vae):
    decoder, vae.decoder = vae.decoder, None
    try:
        with pytest.raises(LTX2Error, match="decoding needs a video VAE with a convolutional decoder"):
            fit(vae, **CPU)
    finally:
        vae.decoder = decoder
