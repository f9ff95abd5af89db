"""Finished clips of random latents, and what sampling makes of an edited one."""

from __future__ import annotations

import pytest
import torch

from ltx2.geometry import audio_latents, pixel_frames
from ltx2.latents import KEY, Clip


@pytest.fixture
def make_clip():
    """`make_clip(latents, rate)` is a (video, audio) pair; the values are all different."""

    def make(num_latents, rate=24.0, *, seed=0, size=(2, 3), batch=1):
        generator = torch.Generator().manual_seed(seed)
        length = max(1, audio_latents(pixel_frames(num_latents), rate))
        video = torch.randn(batch, 4, num_latents, *size, generator=generator)
        audio = torch.randn(batch, 2, length, 3, generator=generator)
        return {"samples": video, KEY: Clip(rate)}, {"samples": audio, KEY: Clip(rate)}

    return make


@pytest.fixture
def sampled():
    """`sampled(latent)` has other values wherever the noise mask is 1, and neither mask nor conditions."""

    def run(latent, seed=1):
        if latent is None:
            return None
        samples = latent["samples"]
        noise = torch.randn(samples.shape, generator=torch.Generator().manual_seed(seed))
        return {"samples": torch.where(latent["noise_mask"] > 0, noise, samples), KEY: latent[KEY].spent()}

    return run


@pytest.fixture
def frozen_inputs():
    """`frozen_inputs(latent, ...)` gives a check that none of them has changed since."""

    def remember(*latents):
        before = [(latent, dict(latent), latent["samples"].clone()) for latent in latents if latent]

        def check():
            for latent, keys, samples in before:
                assert latent.keys() == keys.keys()
                assert all(latent[key] is value for key, value in keys.items())
                assert torch.equal(latent["samples"], samples)

        return check

    return remember
