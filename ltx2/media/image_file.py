"""Opens picture files as ComfyUI's LoadImage does, and turns their colours into sRGB.

Shapes:
    n h w c     pictures of one file, height, width, RGB
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import LTX2Error
from ..packages import Image, ImageCms, ImageOps, ImageSequence

_log = logging.getLogger("ltx2")
# What ComfyUI gives for a picture without transparency; nodes know it by its size.
_NO_MASK = (64, 64)


def load_image(path: str | Path) -> tuple[Tensor, Tensor]:
    """The pictures in a file: IMAGE (n, h, w, 3) in [0, 1], sRGB, upright, and MASK (n, h, w), 1 where transparent.

    An animation gives all its frames that have the first one's size. Without transparency the mask is (n, 64, 64) of
    zeros.

    Raises: LTX2Error where the file is missing, no picture, damaged or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise LTX2Error(f"an image file must exist to be read; got {path}; check the name and the folder")
    try:
        with Image.open(path) as file:
            # A phone's MPO holds a depth map or a second view behind the picture.
            pages = [file] if file.format == "MPO" else ImageSequence.Iterator(file)
            loaded = [_load_page(page, path) for page in pages]
    except Image.UnidentifiedImageError as error:
        raise LTX2Error(f"the file must be a picture; {path} is none that is known; save it as PNG or JPEG") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise LTX2Error(f"the picture must be readable; {path} is not ({error}); save it again, smaller") from error
    size = loaded[0][0].shape
    kept = [(image, mask) for image, mask in loaded if image.shape == size]
    return torch.stack([image for image, _ in kept]), torch.stack([mask for _, mask in kept])


def _load_page(page: Image.Image, path: Path) -> tuple[Tensor, Tensor]:
    upright = ImageOps.exif_transpose(page)
    if upright.mode.startswith("I"):  # 16 bits: Pillow would clip them at 255
        grey = torch.from_numpy(np.asarray(upright).astype(np.float32) / 65535).clamp(0, 1)
        return grey[..., None].expand(-1, -1, 3).contiguous(), torch.zeros(_NO_MASK)
    mask = torch.zeros(_NO_MASK)
    if upright.has_transparency_data:
        mask = 1 - _floats(upright.convert("RGBA").getchannel("A"))
    return _floats(_to_srgb(upright, path)), mask


def _to_srgb(image: Image.Image, path: Path) -> Image.Image:
    """RGB of `image`, converted from the colour profile it carries; a profile that cannot be read is left out."""
    profile = image.info.get("icc_profile")
    # A palette's profile is that of its colours; LCMS takes no alpha along.
    opaque = image.convert({"P": "RGB", "RGBA": "RGB", "PA": "RGB", "LA": "L"}.get(image.mode, image.mode))
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError) as error:
            _log.warning("%s: its colour profile cannot be used (%s); colours are taken as sRGB", path.name, error)
    return opaque.convert("RGB")


def _floats(image: Image.Image) -> Tensor:
    """8-bit picture -> float in [0, 1], (h, w) or (h, w, c)"""
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)
