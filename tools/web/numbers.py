"""The library's numbers that the browser needs to say what a canvas takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from comfyui_ltx2.ltx2 import geometry
from comfyui_ltx2.ltx2.checkpoint.release import released_config
from comfyui_ltx2.ltx2.config.section import Section
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.config.video_vae import VideoVAEConfig
from comfyui_ltx2.ltx2.runtime import tiling
from comfyui_ltx2.ltx2.runtime.estimates.canvas import bytes_per_pixel, bytes_per_summed_pixel, bytes_per_token

RELEASE = "2.3"  # all releases have its widths
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
        "pass_bytes": {"video": sampling_bytes(1, 0), "audio": sampling_bytes(0, 1)},
        "decode": {
            "bytes_per_pixel": bytes_per_pixel(_video_vae(), DTYPE),
            "bytes_per_summed_pixel": bytes_per_summed_pixel(_video_vae()),
            "volume": tiling._DEFAULT_TILE_VOLUME,
            "frames": tiling._TILE_FRAMES,
            "sides": tiling._TILE_SIDES,
        },
    }


def sampling_bytes(video: int, audio: int) -> int:
    """The estimate of one pass of the transformer for so many tokens, weights not included."""
    config = TransformerConfig.from_section(Section(released_config(RELEASE)["transformer"], "transformer"))
    per_video, per_audio = bytes_per_token(config, DTYPE)
    return video * per_video + audio * per_audio


def decoding_bytes(frames: int, height: int, width: int) -> int:
    """The estimate of decoding a clip in the tiles that are chosen for it."""
    size = frames, height, width
    tiles = tiling.choose_tiling(size)
    tile = tiling._tile_volume(size, tiles or tiling.Tiling()) * bytes_per_pixel(_video_vae(), DTYPE)
    if tiles is None:
        return tile
    reached = tiles.frames[0] if tiles.frames else frames
    return tile + reached * height * width * bytes_per_summed_pixel(_video_vae())


def _video_vae() -> VideoVAEConfig:
    return VideoVAEConfig.from_section(Section(released_config(RELEASE)["vae"], "vae"))
