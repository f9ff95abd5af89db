"""Seeded noise: one generator, video then audio, in the order of the latents."""

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.sampling.noise import draw, step_noise
from ltx2.tokens import unflatten_audio, unflatten_video

VIDEO, AUDIO = torch.zeros(1, 4, 3, 2, 5), torch.zeros(1, 2, 7, 3)


def test_order():
    generator = torch.Generator().manual_seed(7)
    expected_video = torch.randn(1, 4, 3, 2, 5, generator=generator)
    expected_audio = torch.randn(1, 2, 7, 3, generator=generator)
    expected_rest = torch.randn(1, 6, 4, generator=generator)
    expected_rest_of_sound = torch.randn(1, 2, 6, generator=generator)
    video, audio = draw(7, VIDEO, AUDIO, num_appended=(6, 2))
    assert torch.equal(unflatten_video(video[:, :30], (3, 2, 5)), expected_video)
    assert torch.equal(unflatten_audio(audio[:, :7], 2), expected_audio)
    assert torch.equal(video[:, 30:], expected_rest)
    assert torch.equal(audio[:, 7:], expected_rest_of_sound)


def test_a_condition_does_not_change_the_noise_of_the_clip():
    video, audio = draw(7, VIDEO, AUDIO)
    with_guides, with_reference = draw(7, VIDEO, AUDIO, num_appended=(6, 2))
    assert torch.equal(with_guides[:, :30], video)
    assert torch.equal(with_reference[:, :7], audio)
    assert torch.equal(draw(7, None, AUDIO, num_appended=(0, 2))[1][:, :7], draw(7, None, AUDIO)[1])


def test_steps_draw_for_appended_tokens_of_both():
    noise = step_noise(7, VIDEO, AUDIO, (6, 2), standardised=False)
    video, audio = noise("step", 0)
    again, _ = step_noise(7, VIDEO, AUDIO, (6, 2), standardised=False)("step", 0)
    assert (video.shape, audio.shape) == ((1, 36, 4), (1, 9, 6))
    assert torch.equal(video, again)
    assert not torch.equal(noise("step", 1)[1], audio)


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    draw(3, VIDEO, None)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, 2**53])
def test_seed_range(seed):
    with pytest.raises(LTX2Error, match="seed must be 0 to"):
        draw(seed, VIDEO, None)
