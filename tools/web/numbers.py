"""The library's numbers that the browser needs to say what a canvas takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any

import torch
from comfyui_ltx2.ltx2 import geometry
from comfyui_ltx2.ltx2.checkpoint.release import released_config
from comfyui_ltx2.ltx2.config.section import Section
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.config.video_vae import VideoVAEConfig
from comfyui_ltx2.ltx2.layers.feed_forward import FEED_ROWS
from comfyui_ltx2.ltx2.runtime import streaming
from comfyui_ltx2.ltx2.runtime.estimates import Forward, decode_bytes, forward_bytes
from comfyui_ltx2.ltx2.runtime.estimates.video_walk import Amount, decoded, enough
from comfyui_ltx2.ltx2.runtime.tiling import Tiling

RELEASE = "2.3"
DTYPE = torch.bfloat16


def numbers(object_info: Mapping[str, Any]) -> dict[str, Any]:
    """What `web/estimates.json` holds. `object_info` is what a server says of the pack's nodes, by id."""
    scales = object_info["LTX2_EmptyLatents"]["input"]["required"]["scale"][1]["options"]
    return {
        "frames_per_latent": geometry.FRAMES_PER_LATENT,
        "pixels_per_latent": geometry.PIXELS_PER_LATENT,
        "audio_latents_per_second": geometry.AUDIO_LATENTS_PER_SECOND,
        "limit_seconds": geometry.LIMIT_SECONDS,
        "scales": sorted((int(scale.removeprefix("1/")) for scale in scales), reverse=True),
        # More tokens than the feed-forward network takes at a time add less each, so each side has sums of its own.
        "sampling": {
            "most_at_once": FEED_ROWS,
            "at_once": pieces(sampling_bytes, product(_sizes(FEED_ROWS - 1), _sizes(600))),
            "in_parts": pieces(sampling_bytes, product([FEED_ROWS + size for size in _sizes(500_000)], _sizes(600))),
        },
        "decoding": {
            "channels": _section("vae", VideoVAEConfig).latent_channels,
            "itemsize": DTYPE.itemsize,
            "most_pixels": [most for _, most in streaming.AT_ONCE],
            "numbers": [_decoding_numbers(frames) for frames, _ in streaming.AT_ONCE],
        },
    }


def sampling_bytes(video: int, audio: int) -> int:
    """The estimate of one pass of the transformer for so many tokens, weights not included."""
    config = _section("transformer", TransformerConfig)
    return forward_bytes(config, Forward(tokens=(video, audio)), DTYPE)


def decoding_bytes(frames: int, height: int, width: int) -> int:
    """The estimate of decoding a clip as a stream."""
    return decode_bytes(_section("vae", VideoVAEConfig), (frames, height, width), Tiling(), DTYPE)


def pieces(function: Callable[..., int], points: Iterable[tuple[int, ...]]) -> list[list[int]]:
    """The sums of products whose largest is `function` at all `points`: a list of coefficients each.

    Estimates are the most of several moments, and each moment takes numbers of some states. So around almost every
    point the function is one sum, whose coefficients are its differences over the corners of a unit cube; at the ends,
    where the cube is of two moments, one that does not depend on some argument will do. Coefficients stand in the order
    of the subsets of the arguments, counted in binary: 1, x, y, xy for two.
    """
    values = {point: function(*point) for point in points}
    found: list[list[int]] = []
    for point, value in values.items():
        if any(evaluated(one, point) == value for one in found):
            continue
        for axes in sorted(range(1 << len(point)), key=lambda each: bin(each).count("1"), reverse=True):
            sum_ = _around(function, point, axes)
            if all(evaluated(sum_, other) <= most for other, most in values.items()):
                found.append(sum_)
                break
    return found


def evaluated(sum_: list[int], point: tuple[int, ...]) -> int:
    """A sum of products at a point."""
    total = 0
    for subset, coefficient in enumerate(sum_):
        for axis, value in enumerate(point):
            coefficient *= value if subset >> axis & 1 else 1
        total += coefficient
    return total


def _around(function: Callable[..., int], point: tuple[int, ...], axes: int) -> list[int]:
    """The coefficients of the sum that agrees with `function` at the corners of the unit cube at `point`.

    `axes` are the bits of the arguments on which the sum depends.
    """
    corners = range(1 << len(point))
    values = [function(*(x + (corner & axes) // (1 << axis) % 2 for axis, x in enumerate(point))) for corner in corners]
    for axis, x in enumerate(point):
        for low in corners:
            if not low >> axis & 1:
                values[low | 1 << axis] -= values[low]
                # In terms of the argument itself in place of its distance from the point.
                values[low] -= values[low | 1 << axis] * x
    return values


def _sizes(most: int) -> list[int]:
    """Sizes from 1 to `most`, each half as large again as the one before."""
    sizes = [1]
    while sizes[-1] * 3 // 2 + 1 <= most:
        sizes.append(sizes[-1] * 3 // 2 + 1)
    return sizes


def _decoding_numbers(most: int) -> list[int]:
    """The most numbers alive for each cell of a latent frame, `most` frames at once, by the clip's latent frames: of
    1, 2, and so on while that makes a difference."""
    config = _section("vae", VideoVAEConfig)
    return [_for_each_cell(config, latents, most) for latents in range(1, enough(most) + 1)]


def _for_each_cell(config: VideoVAEConfig, latents: int, most: int) -> int:
    moments = decoded(config, latents, DTYPE, most)
    # A decoder that pads by zeros, in the dtype of its file, takes nothing for edges or copies.
    assert all(moment == Amount(moment.area) for moment in moments.running), "the page counts cells alone"
    return moments.most(1, 1)


def _section(name: str, config: Any) -> Any:
    return config.from_section(Section(released_config(RELEASE)[name], name))
