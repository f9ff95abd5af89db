"""Seeded noise: one generator, video then audio, in the order of the latents."""

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.sampling.noise import draw
from ltx2.tokens import unflatten_audio, unflatten_video

VIDEO, AUDIO = torch.zeros(1, 4, 3, 2, 5), torch.zeros(1, 2, 7, 3)


def test_order():
    generator = torch.Generator().manual_seed(7)
    expected_video = torch.randn(1, 4, 3, 2, 5, generator=generator)
    expected_audio = torch.randn(1, 2, 7, 3, generator=generator)
    expected_rest = torch.randn(1, 6, 4, generator=generator)
    video, audio = draw(7, VIDEO, AUDIO, num_appended=6)
    assert torch.equal(unflatten_video(video[:, :30], (3, 2, 5)), expected_video)
    assert torch.equal(unflatten_audio(audio, 2), expected_audio)
    assert torch.equal(video[:, 30:], expected_rest)


def test_a_condition_does_not_change_the_noise_of_the_clip():
    with_guides, audio = draw(7, VIDEO, AUDIO, num_appended=6)
    without, same_audio = draw(7, VIDEO, AUDIO)
    assert torch.equal(with_guides[:, :30], without)
    assert torch.equal(audio, same_audio)


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    draw(3, VIDEO, None)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, 2**53])
def test_seed_range(seed):
    with pytest.raises(LTX2Error, match="seed must be 0 to"):
        draw(seed, VIDEO, None)
