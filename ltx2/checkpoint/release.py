"""Which release a checkpoint belongs to, what it holds, and the config of each component.

Metadata says both. Repacks strip it; then probes of tensor names recognise the release, the built-in config of the
released model is used, and the audit of all shapes judges whether that was right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ..errors import ModelFileError
from .keys import AUDIO_VAE, GEMMA, TEXT, TRANSFORMER, UPSAMPLER, VIDEO_VAE, VOCODER, NameTable
from .reader import Checkpoint

ANY = "any"
RELEASES = ("2.0", "2.3")
_VERSION = re.compile(r"\s*(?:ltxv?[-_ ]?)?v?(\d)(?:\.(\d{1,3}))?(?!\d)", re.IGNORECASE)
_LORA = re.compile(r"\.(lora_[AB]|lora_(down|up))\.")

#: A component and a piece of a tensor name that only this release's file has, in the order they are tried.
_PROBES: tuple[tuple[str, str, str], ...] = (
    ("transformer", "keyframes_abs_pos_embedding", "2.5"),
    ("transformer", ".attn1.to_gate_logits.", "2.3"),
    ("transformer", "caption_projection.linear_1.", "2.0"),
    (TEXT.component, "text_embedding_projection.video_aggregate_embed.", "2.3"),
    (TEXT.component, "text_embedding_projection.aggregate_embed.", "2.0"),
    ("video VAE", "decoder.conv_in_x_t.", "2.5"),
    ("video VAE", "decoder.up_blocks.8.", "2.3"),
    ("video VAE", "decoder.up_blocks.6.", "2.0"),
    ("vocoder", "vocoder.bwe_generator.", "2.3"),
    ("vocoder", "vocoder.conv_pre.", "2.0"),
)
#: Tensors that tell components apart when a file holds another one than was asked for.
_SIGNS: tuple[tuple[str, str], ...] = (
    ("a transformer", "transformer_blocks."),
    ("a text projection", "text_embedding_projection."),
    ("a Gemma text encoder", "embed_tokens."),
    ("a vocoder", "vocoder."),
    ("an audio VAE", "audio_vae."),
    ("a latent upsampler", "post_upsample_res_blocks."),
    ("a video VAE", "per_channel_statistics."),
)


def release_of(checkpoint: Checkpoint, table: NameTable) -> str:
    """ "2.0", "2.3", "2.5", or "any" for a component that all releases share.

    Raises:
        ModelFileError: neither the metadata nor the names tell.
    """
    # A version that is none of LTX-2 ("abc", "0.9") tells nothing; the names may.
    version = checkpoint.metadata.get("model_version", "")
    if (match := _VERSION.match(version)) and (numbers := (int(match[1]), int(match[2] or 0))) >= (2, 0):
        return "2.5" if numbers >= (2, 4) else "2.3" if numbers >= (2, 3) else "2.0"
    if table in (AUDIO_VAE, UPSAMPLER):
        return ANY
    for component, sign, release in _PROBES:
        if component == table.component and any(sign in key for key in checkpoint.entries):
            return release
    stated = f" (its model_version is {version!r:.40})" if version else ""
    raise ModelFileError(
        f"{checkpoint.name}: the release of its {table.component} cannot be recognised{stated}; known are "
        f"{', '.join(RELEASES)}: get the file from Lightricks' own repository"
    )


def section_of(checkpoint: Checkpoint, table: NameTable) -> Mapping[str, Any]:
    """The JSON config of one component: the file's own, or the released model's where metadata was stripped.

    Raises:
        ModelFileError: the file holds something else, or the release is unknown or not supported.
    """
    require_component(checkpoint, table)
    if table is UPSAMPLER:
        return checkpoint.config or _probe_upsampler(checkpoint)
    if table.section in checkpoint.config:
        return checkpoint.config[table.section]
    release = release_of(checkpoint, table)
    known = RELEASES[-1] if release == ANY else release
    if known not in RELEASES:
        raise ModelFileError(
            f"{checkpoint.name}: its {table.component} belongs to LTX-{release} and its config is missing; built-in "
            f"configs exist for {', '.join(RELEASES)}: get the file with its metadata"
        )
    return released_config(known)[table.section]


@lru_cache
def released_config(release: str) -> Mapping[str, Any]:
    """The metadata config of a released checkpoint."""
    return json.loads(
        files(f"{__package__.rpartition('.')[0]}.config").joinpath(f"released/{release}.json").read_text()
    )


def require_component(checkpoint: Checkpoint, table: NameTable) -> None:
    """Raise ModelFileError, saying what the file is, where it holds nothing of the component."""
    if is_lora(checkpoint.entries):
        raise ModelFileError(
            f"{checkpoint.name} must hold a {table.component}; it is a LoRA: choose it in the LTX-2 LoRA node instead"
        )
    if not holds(checkpoint, table):
        raise ModelFileError(
            f"{checkpoint.name} must hold a {table.component}; it holds {contents(checkpoint.entries)}"
        )


def holds(checkpoint: Checkpoint, table: NameTable) -> bool:
    """Whether the file has the component."""
    found, _ = table.select(checkpoint.entries)
    return bool(found) and any(sign in key for sign in _own_signs(table) for key in checkpoint.entries)


def is_lora(keys: Iterable[str]) -> bool:
    """Whether these are the tensors of a LoRA."""
    return any(_LORA.search(key) for key in keys)


def contents(keys: Iterable[str]) -> str:
    """What a file with these tensors is, in words."""
    keys = list(keys)
    if is_lora(keys):
        return "a LoRA"
    found = [what for what, sign in _SIGNS if any(sign in key for key in keys)]
    if "an audio VAE" in found and not any(key.startswith(("vae.", "encoder.", "decoder.")) for key in keys):
        found.remove("a video VAE")
    return ", ".join(found) if found else f"nothing known ({len(keys)} tensors, such as {', '.join(keys[:3])})"


def _own_signs(table: NameTable) -> tuple[str, ...]:
    return {
        TRANSFORMER.component: ("transformer_blocks.",),
        TEXT.component: ("text_embedding_projection.",),
        VIDEO_VAE.component: ("encoder.conv_in.", "decoder.conv_in"),
        AUDIO_VAE.component: ("audio_vae.",),
        VOCODER.component: ("vocoder.",),
        UPSAMPLER.component: ("post_upsample_res_blocks.",),
        GEMMA.component: ("embed_tokens.",),
    }[table.component]


def _probe_upsampler(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config of an upsampler without metadata, from the shapes of its tensors."""
    shapes = checkpoint.shapes()
    first = shapes.get("initial_conv.weight", (512, 128))
    if len(first) < 2 or 0 in first:
        raise ModelFileError(
            f"{checkpoint.name} is damaged: initial_conv.weight must have five sizes; it has {first}; get the file anew"
        )
    mid, channels = first[:2]
    config = {
        "in_channels": channels,
        "mid_channels": mid,
        "num_blocks_per_stage": len([key for key in shapes if key.startswith("res_blocks.") and ".conv1.w" in key]),
        "dims": 3,
        "spatial_upsample": True,
    }
    if "upsampler.conv.weight" in shapes:
        ratio = shapes["upsampler.conv.weight"][0] // mid
        return {**config, "rational_resampler": True, "spatial_scale": {9: 1.5, 16: 4.0}.get(ratio, 2.0)}
    weight = shapes.get("upsampler.0.weight", ())
    is_temporal = len(weight) == 5
    is_both = is_temporal and weight[0] // mid == 8
    return {**config, "temporal_upsample": is_temporal, "spatial_upsample": not is_temporal or is_both}
