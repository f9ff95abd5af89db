"""How long a clip may be: what fits, what does not, and what to do about it."""

import pytest
import torch

from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.sampling.limits import check_duration
from ltx2.tokens import audio_state, video_state


def video(frames, frame_rate, **options):
    return video_state(torch.zeros(1, 1, (frames - 1) // 8 + 1, 1, 1), frame_rate, **options)


def audio(length):
    return audio_state(torch.zeros(1, 1, length, 1))


@pytest.mark.parametrize(
    ("frames", "frame_rate"), [(481, 24.0), (481, 24000 / 1001), (497, 25.0), (601, 30.0), (9, 1.0)]
)
def test_twenty_seconds_fit(frames, frame_rate):
    sound = audio(round(frames / frame_rate * 25))
    check_duration(TransformerConfig(), (video(frames, frame_rate), sound))
    check_duration(TransformerConfig(), (video(frames, frame_rate, continues=True), None))


@pytest.mark.parametrize(("frames", "frame_rate"), [(489, 24.0), (505, 25.0), (609, 30.0), (33, 1.0)])
def test_what_is_longer_is_refused_with_its_cure(frames, frame_rate):
    message = rf"the 20 s that this transformer can place; got video of {frames / frame_rate:.2f} s: .*raise the frame"
    with pytest.raises(LTX2Error, match=message):
        check_duration(TransformerConfig(), (video(frames, frame_rate), audio(10)))


def test_sound_alone_is_measured_itself():
    check_duration(TransformerConfig(), (None, audio(501)))
    with pytest.raises(LTX2Error, match=r"got audio of 20\.0. s: make it shorter, or make it in parts"):
        check_duration(TransformerConfig(), (None, audio(502)))


def test_the_limit_is_the_transformers():
    short = TransformerConfig(max_positions=(5, 2048, 2048))
    check_duration(short, (video(121, 24.0), None))
    with pytest.raises(LTX2Error, match="the 5 s that"):
        check_duration(short, (video(129, 24.0), None))


def test_conditions_do_not_count():
    state = video(9, 24.0)
    late = state.appended(torch.zeros(1, 1, 1), torch.full((1, 3, 1, 2), 100.0), 0.0)
    check_duration(TransformerConfig(), (late, None))
