"""Guides in pixels: where they land, what they refuse, and that every stage encodes them anew."""

import logging

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.conditioning.guides import ImageGuide, VideoGuide
from ltx2.conditioning.stage import Stage, prepare_frames
from ltx2.errors import LTX2Error

STAGE = Stage(grid=(6, 2, 4), crf=0)  # 41 frames, 128 x 64


def frames(count, height=64, width=128):
    """Frame i is grey of i / 64."""
    return (torch.arange(count) / 64)[:, None, None, None].expand(count, height, width, 3)


def image(value=0.5):
    return torch.full((1, 64, 128, 3), value)


@pytest.mark.parametrize("frame", [40, -1])
def test_an_image_behind_the_first_frame_is_appended(encoder, frame):
    condition = ImageGuide(image(), frame, strength=0.7).encoded(encoder, STAGE)
    assert isinstance(condition, AppendedFrames)
    assert (condition.frame, condition.num_frames, condition.strength) == (40, 1, 0.7)


def test_an_image_at_the_first_frame_replaces_or_is_appended(encoder):
    assert isinstance(ImageGuide(image()).encoded(encoder, STAGE), ReplacedFrames)
    appended = ImageGuide(image(), append=True).encoded(encoder, STAGE)
    assert isinstance(appended, AppendedFrames)
    assert appended.frame == 0


def test_a_clip_cut_out_of_a_longer_one_has_no_latent_of_its_first_frame(encoder):
    cut = Stage(STAGE.grid, 0, continues=True)
    assert isinstance(ImageGuide(image()).encoded(encoder, cut), AppendedFrames)
    assert isinstance(VideoGuide(frames(9)).encoded(encoder, cut), AppendedFrames)


@pytest.mark.parametrize("frame", [41, -42])
@pytest.mark.parametrize("make", [lambda frame: ImageGuide(image(), frame), lambda frame: VideoGuide(frames(1), frame)])
def test_a_frame_that_the_clip_has_not_is_refused(encoder, make, frame):
    with pytest.raises(LTX2Error, match=rf"frame must be -41 to 40 in a clip of 41; got {frame}"):
        make(frame).encoded(encoder, STAGE)


@pytest.mark.parametrize(
    "make", [lambda s: ImageGuide(image(), strength=s), lambda s: VideoGuide(frames(1), strength=s)]
)
@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_strengths_are_0_to_1(make, strength):
    with pytest.raises(LTX2Error, match="the strength of a guide must be 0 to 1; got"):
        make(strength)


def test_a_video_at_the_start_replaces_the_first_latents(encoder):
    condition = VideoGuide(frames(17), strength=0.5).encoded(encoder, STAGE)
    assert isinstance(condition, ReplacedFrames)
    assert condition.latent.shape == (1, 3, 3, 2, 4)
    assert (condition.latent_index, condition.strength) == (0, 0.5)
    torch.testing.assert_close(condition.latent[0, 0, :, 0, 0], torch.tensor([0, 4.5, 12.5]) / 32 - 1)


def test_a_video_elsewhere_is_appended(encoder):
    condition = VideoGuide(frames(9), frame=16).encoded(encoder, STAGE)
    assert isinstance(condition, AppendedFrames)
    assert (condition.frame, condition.num_frames) == (16, 9)


@pytest.mark.parametrize(
    ("count", "frame", "start", "used", "said"),
    [
        (9, -9, 32, 9, None),
        (9, 21, 16, 9, "it begins at frame 16, not 21 (a multiple of 8)"),
        (9, -10, 24, 9, "it begins at frame 24, not -10"),
        (16, 16, 16, 9, "its first 9 of 16 frames are used (8n + 1)"),
        (5, 13, 13, 1, "its first 1 of 5 frames are used"),
    ],
)
def test_what_is_snapped_is_said(encoder, caplog, count, frame, start, used, said):
    caplog.set_level(logging.INFO, "ltx2")
    condition = VideoGuide(frames(count), frame).encoded(encoder, STAGE)
    assert isinstance(condition, AppendedFrames)
    assert (condition.frame, condition.num_frames) == (start, used)
    assert encoder.sizes == [(used, 64, 128)]
    assert (said in caplog.text) if said else not caplog.text


@pytest.mark.parametrize(
    ("count", "frame", "cure"), [(49, 0, "cut it to 41"), (17, 32, "cut it to 9"), (9, -1, "to 1")]
)
def test_a_video_beyond_the_last_frame_is_refused(encoder, count, frame, cure):
    with pytest.raises(LTX2Error, match=f"must end within the clip of 41 frames; got .*{cure}"):
        VideoGuide(frames(count), frame).encoded(encoder, STAGE)
    assert not encoder.sizes


@pytest.mark.parametrize("make", [lambda: ImageGuide(image(0.25), 8), lambda: VideoGuide(frames(9, 90, 90), 8)])
def test_every_stage_encodes_guides_anew(encoder, make):
    guide = make()
    first = guide.encoded(encoder, STAGE)
    second = guide.encoded(encoder, Stage((6, 4, 8), crf=0))
    assert [size[1:] for size in encoder.sizes] == [(64, 128), (128, 256)]
    assert (first.latent.shape[3:], second.latent.shape[3:]) == ((2, 4), (4, 8))
    assert guide.size(STAGE) == encoder.sizes[0]


def test_guides_leave_their_pictures_alone(encoder):
    picture, clip = torch.rand(1, 50, 70, 3), torch.rand(9, 50, 70, 3)
    before = picture.clone(), clip.clone()
    ImageGuide(picture).encoded(encoder, STAGE)
    VideoGuide(clip, 8).encoded(encoder, STAGE)
    assert torch.equal(picture, before[0])
    assert torch.equal(clip, before[1])


def test_frames_are_prepared_as_single_images_are():
    from ltx2.media.image import prepare_image

    clip = torch.rand(11, 50, 70, 3, generator=torch.Generator().manual_seed(0))
    chosen = [0, 1, 5, 9, 10, 3, 2, 4, 6, 8]
    pixels = prepare_frames(clip, chosen, 128, 64, torch.float32)
    singles = [prepare_image(clip[[frame]], 128, 64, crf=0) for frame in chosen]
    torch.testing.assert_close(pixels, torch.cat(singles, 2))


def test_a_long_clip_is_prepared_in_the_dtype_of_the_vae(encoder):
    VideoGuide(frames(9), 8).encoded(encoder, Stage(STAGE.grid, 0, dtype=torch.bfloat16))
    assert encoder.dtype is torch.bfloat16
