"""Contact sheets: which frames, where, how large."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltx2.preview.sheet import sheet


def frames(count, height, width):
    """Frame n is of one grey: -1, ... 1."""
    levels = torch.linspace(-1, 1, count) if count > 1 else torch.tensor([1.0])
    return levels.view(1, count, 1, 1).expand(3, count, height, width)


@pytest.mark.parametrize(
    ("count", "height", "width", "size"),
    [
        (16, 16, 24, (512, 340)),  # four frames of 254 x 169
        (16, 24, 16, (340, 512)),
        (3, 16, 24, (252, 512)),  # wide ones below each other
        (2, 16, 24, (383, 512)),
        (1, 16, 24, (512, 341)),
        (121, 4, 4, (512, 512)),
    ],
)
def test_the_longer_side_is_as_asked(count, height, width, size):
    picture = sheet(frames(count, height, width), 512)
    assert max(picture.size) in (511, 512)
    assert abs(picture.size[0] - size[0]) <= 3
    assert abs(picture.size[1] - size[1]) <= 3


def test_first_last_and_two_between_from_left_to_right():
    picture = np.asarray(sheet(frames(16, 16, 16), 512))
    centres = [picture[y, x, 0] for y in (127, 384) for x in (127, 384)]
    assert centres == [0, 85, 170, 255]
    assert (picture[256, 256] == 24).all()


def test_values_out_of_range_are_clamped_and_nan_is_grey():
    values = torch.tensor([-9.0, 9.0, torch.nan]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert sheet(values, 64).getpixel((32, 32)) == (0, 255, 128)


def test_very_long_and_narrow_frames_have_a_pixel_at_least():
    assert min(sheet(frames(16, 200, 1), 512).size) >= 1
