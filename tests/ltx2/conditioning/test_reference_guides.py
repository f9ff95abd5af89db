"""References in pixels and samples: sizes, frames, masks, and what is refused."""

import logging

import pytest
import torch

from ltx2.conditioning.reference_guides import AudioReference, VideoReference
from ltx2.conditioning.stage import Stage
from ltx2.errors import LTX2Error

STAGE = Stage(grid=(6, 2, 4), crf=33)  # 41 frames, 128 x 64


def frames(count):
    """Frame i is grey of i / 64."""
    return (torch.arange(count) / 64)[:, None, None, None].expand(count, 64, 128, 3)


def test_a_reference_is_encoded_at_a_part_of_the_size(encoder):
    guide = VideoReference(frames(41), strength=0.7, spatial=2)
    condition = guide.encoded(encoder, STAGE)
    assert encoder.sizes == [(41, 32, 64)] == [guide.size(STAGE)]
    assert condition.latent.shape == (1, 3, 6, 1, 2)
    assert (condition.strength, condition.spatial, condition.temporal) == (0.7, 2, 1)
    assert condition.attention is None


def test_frames_of_a_reference_that_has_one_of_four(encoder, caplog):
    caplog.set_level(logging.INFO, "ltx2")
    condition = VideoReference(frames(33), temporal=4).encoded(encoder, STAGE)
    # Frames 0, and 1, 5, ..., 29.
    torch.testing.assert_close(condition.latent[0, 0, :, 0, 0], torch.tensor([0.0, 15.0]) / 32 - 1)
    assert condition.temporal == 4
    assert not caplog.text


@pytest.mark.parametrize(("count", "temporal", "used"), [(60, 1, 41), (40, 1, 33), (41, 4, 33)])
def test_frames_that_do_not_count_are_named(encoder, caplog, count, temporal, used):
    caplog.set_level(logging.INFO, "ltx2")
    VideoReference(frames(count), temporal=temporal).encoded(encoder, STAGE)
    assert f"{used} of its {count} frames count in a clip of 41" in caplog.text


def test_sizes_that_have_no_such_part_are_refused():
    with pytest.raises(
        LTX2Error, match=r"height must be a multiple of 96 for a reference at 1/3 .*got 64 \(nearest: 96"
    ):
        VideoReference(frames(9), spatial=3).size(Stage((2, 2, 6), 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 2.0}, "strength of a reference must be 0 to 1; got 2"),
        ({"attention": -1.0}, "attention strength of a reference must be 0 to 1; got -1"),
        ({"spatial": 0}, "spatial factor of a reference must be 1 or more; got 0"),
        ({"temporal": -4}, "temporal factor of a reference must be 1 or more; got -4"),
        ({"mask": torch.ones(5, 64, 128)}, r"one for each of its 9 frames; got \[5, 64, 128\]"),
        ({"mask": torch.ones(1, 9, 64, 128)}, "must be one picture"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(LTX2Error, match=message):
        VideoReference(frames(9), **options)


def strengths(encoder, **options):
    return VideoReference(frames(17), **options).encoded(encoder, STAGE).attention


def test_one_strength_for_all_is_one_number(encoder):
    assert strengths(encoder, attention=0.5).tolist() == [0.5]
    assert strengths(encoder, mask=torch.ones(1, 64, 128)) is None


def test_a_mask_weighs_the_strength_where_and_when(encoder):
    mask = torch.zeros(17, 64, 128)
    mask[0, :32, :32] = 1  # the first latent of a corner
    mask[1:5, 32:, 96:] = 1  # half the frames of the second latent of the other corner
    got = strengths(encoder, attention=0.5, mask=mask).reshape(3, 2, 4)
    expected = torch.zeros(3, 2, 4)
    expected[0, 0, 0], expected[1, 1, 3] = 0.5, 0.25
    torch.testing.assert_close(got, expected)


def test_a_mask_is_cut_as_the_pictures_are(encoder):
    one = torch.zeros(1, 64, 256)
    one[:, :, 64:128] = 1  # 128 x 64 is cut out of the middle: the left half of what is left
    got = strengths(encoder, mask=one, spatial=2).reshape(3, 1, 2)
    assert got.tolist() == [[[1.0, 0.0]]] * 3


def test_a_mask_takes_the_frames_that_the_reference_takes(encoder):
    mask = torch.zeros(33, 64, 128)
    mask[1::4] = 1
    got = VideoReference(frames(33), mask=mask, temporal=4).encoded(encoder, STAGE).attention
    assert got.reshape(2, 8).tolist() == [[0.0] * 8, [1.0] * 8]


def test_a_sound_is_encoded_and_a_latent_is_not():
    latent = torch.rand(1, 8, 5, 16)
    sound = {"waveform": torch.zeros(1, 1, 1000), "sample_rate": 16000}
    heard = []

    def encode(audio):
        heard.append(audio)
        return latent.double()

    assert torch.equal(AudioReference(sound).encoded(encode).latent, latent)
    assert heard == [sound]
    assert torch.equal(AudioReference({"samples": latent}).encoded(encode).latent, latent)
    assert len(heard) == 1


@pytest.mark.parametrize(
    "sound",
    [{"waveform": torch.zeros(1, 1, 20_001), "sample_rate": 1000}, {"samples": torch.zeros(1, 8, 501, 16)}],
)
def test_a_voice_longer_than_what_has_positions_is_refused(sound):
    def encode(audio):
        raise AssertionError("it must be refused before it is encoded")

    with pytest.raises(LTX2Error, match=r"must fit into the 20 s that .*; got 20\.0\d s: cut it"):
        AudioReference(sound).encoded(encode)


def test_a_mask_without_values_is_refused():
    with pytest.raises(LTX2Error, match="every value of a mask must be a number; got NaN"):
        VideoReference(frames(9), mask=torch.full((1, 64, 128), float("nan")))
