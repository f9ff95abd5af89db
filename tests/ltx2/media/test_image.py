"""Conditioning pictures: the round trip and the crop as the reference has them; picture files in sRGB and upright."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ltx2.errors import LTX2Error
from ltx2.media.image import compress, cover, prepare_image
from ltx2.media.image_file import load_image


def picture(height: int, width: int) -> torch.Tensor:
    """Smooth colours and some texture in eight bits, (1, h, w, 3)."""
    generator = torch.Generator().manual_seed(7)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    smooth = torch.stack([x, y, 0.5 + 0.5 * torch.sin(9 * x * y)], -1)
    return (255 * (0.9 * smooth + 0.1 * torch.rand(height, width, 3, generator=generator))).round()[None] / 255


def test_without_compression_a_fitting_picture_stays_as_it_is():
    image = picture(64, 96)
    prepared = prepare_image(image, 96, 64, crf=0)
    assert prepared.shape == (1, 3, 1, 64, 96)
    assert torch.equal(prepared[0, :, 0], image[0].permute(2, 0, 1) * 2 - 1)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (61, 97), (100, 40), (33, 500), (300, 200)])
@pytest.mark.parametrize("crf", [18, 33])
def test_equals_the_diffusers_pipeline(height, width, crf):
    """To the bit below 128 rows; above, x264 cuts the picture into a slice per thread there, into one slice here."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import apply_image_conditioning_crf

    image = picture(height, width)
    ours = prepare_image(image, 128, 64, crf=crf)
    theirs = apply_image_conditioning_crf((image[0] * 255).round().to(torch.uint8).numpy(), crf)
    pixels = torch.from_numpy(theirs).float().permute(2, 0, 1)[None]
    scale = max(64 / pixels.shape[2], 128 / pixels.shape[3])
    size = (math.ceil(pixels.shape[2] * scale), math.ceil(pixels.shape[3] * scale))
    pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - 64) // 2, (size[1] - 128) // 2
    expected = pixels[:, :, top : top + 64, left : left + 128] / 127.5 - 1
    assert ours.shape == (1, 3, 1, 64, 128)
    if height < 128:
        torch.testing.assert_close(ours[:, :, 0], expected, atol=1e-6, rtol=0)
    assert (ours[:, :, 0] - expected).abs().mean() < 0.02


def test_compression_changes_little_and_more_with_a_higher_crf():
    image = picture(64, 96)
    fine, coarse = (float((compress(image, crf) - image).abs().mean()) for crf in (18, 33))
    assert 0.001 < fine < coarse < 0.05
    assert torch.equal(compress(image, 33), compress(image, 33))


def test_compression_comes_before_resizing():
    image = picture(128, 192)
    resized_first = cover(image.permute(0, 3, 1, 2), 96, 64).permute(0, 2, 3, 1)
    wrong_order = compress(resized_first, 33).permute(0, 3, 1, 2) * 2 - 1
    assert not torch.allclose(prepare_image(image, 96, 64, crf=33)[:, :, 0], wrong_order, atol=1e-3)


def test_odd_sizes_lose_their_last_row_and_column():
    image = picture(33, 47)
    assert compress(image, 1).shape == (1, 32, 46, 3)
    assert (compress(image, 1) - image[:, :32, :46]).abs().mean() < 0.03


@pytest.mark.parametrize(("height", "width"), [(200, 100), (100, 200), (50, 51), (300, 1000)])
def test_covering_keeps_the_centre_and_the_aspect(height, width):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    image = torch.stack([x - width / 2, y - height / 2])[None]
    covered = cover(image, 96, 64)
    assert covered.shape == (1, 2, 64, 96)
    step = min(height / 64, width / 96)  # source pixels per canvas pixel, in both directions
    middle = covered[0, :, 31:33, 47:49]
    assert middle[0].mean().abs() <= step
    assert middle[1].mean().abs() <= step
    assert float(covered[0, 0, 32].diff().mean()) == pytest.approx(step, rel=0.02)
    assert float(covered[0, 1, :, 48].diff().mean()) == pytest.approx(step, rel=0.02)


@pytest.mark.parametrize(
    ("image", "crf", "message"),
    [
        (torch.zeros(2, 8, 8, 3), 33, r"one RGB picture .* got \(2, 8, 8, 3\)"),
        (torch.zeros(1, 8, 8, 4), 33, "alpha"),
        (torch.zeros(1, 8, 8, 3), 52, "crf must be 0"),
        (torch.zeros(1, 1, 8, 3), 33, "at least 2x2"),
        (torch.full((1, 8, 8, 3), math.nan), 33, "finite"),
    ],
)
def test_wrong_pictures_are_refused(image, crf, message):
    with pytest.raises(LTX2Error, match=message):
        prepare_image(image, 64, 64, crf=crf)


def pixels(height: int = 20, width: int = 30) -> np.ndarray:
    return (picture(height, width)[0] * 255).round().to(torch.uint8).numpy()


def test_a_plain_file_is_read_exactly(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    image, mask = load_image(tmp_path / "a.png")
    assert torch.equal(image[0], torch.from_numpy(pixels().astype(np.float32) / 255))
    assert mask.shape == (1, 64, 64)
    assert not mask.any()


def test_exif_turns_the_picture_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: to be turned clockwise
    Image.fromarray(pixels()).save(tmp_path / "a.png", exif=exif)
    image, _ = load_image(tmp_path / "a.png")
    assert torch.equal(image[0], torch.from_numpy(np.rot90(pixels(), -1).astype(np.float32) / 255))


def test_alpha_becomes_the_mask(tmp_path):
    alpha = np.arange(600, dtype=np.uint8).reshape(20, 30)
    rgba = np.dstack([pixels(), alpha])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image, mask = load_image(tmp_path / "a.png")
    assert torch.equal(mask[0], 1 - torch.from_numpy(alpha.astype(np.float32) / 255))
    assert torch.equal(image[0], torch.from_numpy(pixels().astype(np.float32) / 255))


def test_a_colour_profile_is_applied(tmp_path):
    """LCMS' own Lab and XYZ profiles are no RGB ones: a gamma 1.0 RGB profile is made by editing sRGB's curves."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        at = profile.index(tag)
        offset = int.from_bytes(profile[at + 4 : at + 8], "big")
        profile[offset : offset + 16] = b"para\0\0\0\0\0\0\0\0" + (65536).to_bytes(4, "big")
    Image.fromarray(pixels()).save(tmp_path / "linear.png", icc_profile=bytes(profile))
    image, _ = load_image(tmp_path / "linear.png")
    linear = pixels() / 255
    expected = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(image[0].numpy() - expected).max() < 0.02
    assert np.abs(expected - linear).mean() > 0.1


def test_a_broken_profile_is_reported_and_left_out(tmp_path, caplog):
    Image.fromarray(pixels()).save(tmp_path / "a.png", icc_profile=b"no profile")
    image, _ = load_image(tmp_path / "a.png")
    assert torch.equal(image[0], torch.from_numpy(pixels().astype(np.float32) / 255))
    assert "colour profile cannot be used" in caplog.text


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16"])
def test_every_mode_gives_rgb(tmp_path, mode):
    grey = Image.fromarray(np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1)))
    if mode == "I;16":
        made = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        made = grey.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    made.save(path)
    image, mask = load_image(path)
    assert image.shape == (1, 20, 30, 3)
    expected = torch.from_numpy(np.asarray(made.convert("L") if mode == "1" else grey).astype(np.float32) / 255)
    assert (image[0] - expected[..., None]).abs().max() < 0.01
    assert not mask.any()


def test_an_animation_gives_its_frames(tmp_path):
    shades = [Image.new("RGB", (30, 20), (value, 0, 0)) for value in (0, 120, 250)]
    shades[0].save(tmp_path / "a.webp", save_all=True, append_images=shades[1:], lossless=True)
    image, mask = load_image(tmp_path / "a.webp")
    assert image.shape == (3, 20, 30, 3)
    assert len(mask) == 3
    assert image[:, 0, 0, 0].mul(255).round().tolist() == [0, 120, 250]


def test_files_that_are_no_pictures_are_explained(tmp_path):
    with pytest.raises(LTX2Error, match="must exist"):
        load_image(tmp_path / "missing.png")
    (tmp_path / "a.png").write_text("<html>")
    with pytest.raises(LTX2Error, match="must be a picture"):
        load_image(tmp_path / "a.png")
    whole = io.BytesIO()
    Image.fromarray(pixels(200, 300)).save(whole, "PNG")
    (tmp_path / "b.png").write_bytes(whole.getvalue()[:9000])
    with pytest.raises(LTX2Error, match="must be readable"):
        load_image(tmp_path / "b.png")
