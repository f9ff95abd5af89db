"""What an IC-LoRA says of the reference that it was trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import ModelFileError

_SPATIAL = ("reference_spatial_scale_factor", "reference_downscale_factor")  # the newer name first
_TEMPORAL = ("reference_temporal_scale_factor",)
_HDR = ("hdr_transform", "use_hdr_transform")


def reference_scale(metadata: Mapping[str, str], name: str) -> tuple[int, int] | None:
    """(spatial, temporal) factor by which the reference is smaller than the clip; None where the file states neither.

    Raises:
        ModelFileError: a factor is no whole number from 1, or two names of one factor differ; `name` is the file's.
    """
    if not any(key in metadata for key in (*_SPATIAL, *_TEMPORAL)):
        return None
    return _factor(metadata, _SPATIAL, name), _factor(metadata, _TEMPORAL, name)


def metadata_in_words(metadata: Mapping[str, str], name: str) -> list[str]:
    """What of the metadata changes how the LoRA is used, one line each; raises as `reference_scale` does."""
    lines = []
    if (scale := reference_scale(metadata, name)) is not None:
        spatial, temporal = scale
        size = "full size" if spatial == 1 else f"1/{spatial} size"
        frames = "every frame" if temporal == 1 else f"one frame in {temporal}"
        lines.append(f"IC-LoRA: reference at {size}, {frames}")
    lines.extend(f"{key}: {metadata[key]}" for key in _HDR if key in metadata)
    return lines


def _factor(metadata: Mapping[str, str], keys: tuple[str, ...], name: str) -> int:
    stated = {key: _whole(key, metadata[key], name) for key in keys if key in metadata}
    if len(set(stated.values())) > 1:
        words = " and ".join(f"{key} {value}" for key, value in stated.items())
        raise ModelFileError(f"{name}: its metadata must state one factor; it states {words}: get the file anew")
    return next(iter(stated.values()), 1)


def _whole(key: str, text: str, name: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value.is_integer() or value < 1:
        raise ModelFileError(f"{name}: its {key} must be a whole number from 1; got {text!r:.60}: get the file anew")
    return int(value)
