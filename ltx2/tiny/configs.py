"""The configs of the tiny models: those of the released ones with fewer layers and smaller widths, and nothing else.

Kinds and strides of all blocks, latent channels, compression, rates and filter lengths stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoint.release import released_config
from ..checkpoint.released_files import RELEASED_FILES

GEMMA: Mapping[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 7,  # more than one period of local and global layers
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
    },
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 56,
        "patch_size": 14,
    },
    "mm_tokens_per_image": 4,
}

_HIDDEN = GEMMA["text_config"]["hidden_size"]
_TRANSFORMER = {
    "num_layers": 2,
    # Widths whose rotary tables need padding in front, as the released ones do.
    "num_attention_heads": 4,
    "audio_num_attention_heads": 4,
    "attention_head_dim": 40,
    "audio_attention_head_dim": 20,
    "cross_attention_dim": 160,
    "audio_cross_attention_dim": 80,
    "caption_channels": _HIDDEN,
    "connector_num_layers": 2,
}
_CONNECTOR = {
    # One connector width for both modalities, before the transformer's own projection.
    "2.0": {"connector_num_attention_heads": 4, "connector_attention_head_dim": _HIDDEN // 4},
    "2.3": {
        "connector_num_attention_heads": 4,
        "connector_attention_head_dim": 40,
        "audio_connector_num_attention_heads": 4,
        "audio_connector_attention_head_dim": 20,
    },
}
_VOCODER = {
    "2.0": {"upsample_initial_channel": 64},
    "2.3": {"vocoder": {"upsample_initial_channel": 128}, "bwe": {"upsample_initial_channel": 64}},
}
_UPSAMPLER = {
    "in_channels": 128,
    "mid_channels": 64,  # two channels in each of the 32 groups: a lone one would lose its bias in the normalisation
    "num_blocks_per_stage": 2,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}
#: Released file name to config, for each release.
UPSAMPLERS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "2.0": {RELEASED_FILES["2.0"].spatial_upsampler: {**_UPSAMPLER, "rational_resampler": True}},
    "2.3": {
        RELEASED_FILES["2.3"].spatial_upsampler: _UPSAMPLER,
        "ltx-2.3-spatial-upscaler-x1.5-1.0.safetensors": {
            **_UPSAMPLER,
            "spatial_scale": 1.5,
            "rational_resampler": True,
        },
        "ltx-2.3-temporal-upscaler-x2-1.0.safetensors": {
            **_UPSAMPLER,
            "spatial_upsample": False,
            "temporal_upsample": True,
        },
    },
}


def checkpoint_config(release: str) -> dict[str, Any]:
    """The `config` of the tiny single-file checkpoint."""
    released = released_config(release)
    changes = {
        "transformer": {**_TRANSFORMER, **_CONNECTOR[release]},
        "vae": {
            "decoder_base_channels": 8,
            "encoder_blocks": [_small(block, widens=False) for block in released["vae"]["encoder_blocks"]],
            "decoder_blocks": [_small(block, widens=True) for block in released["vae"]["decoder_blocks"]],
        },
        "audio_vae": {"model": {"params": {"ddconfig": {"ch": 16, "num_res_blocks": 1}}}},
        "vocoder": _VOCODER[release],
    }
    return _merged(released, changes)


def _small(block: list[Any], *, widens: bool) -> list[Any]:
    """A block of the video VAE with one layer. The encoder starts at 128 channels, so it may not widen."""
    kind, parameters = block
    if kind == "res_x":
        return [kind, {**parameters, "num_layers": 1}]
    return [kind, parameters if widens else {**parameters, "multiplier": 1}]


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: _merged(base[key], value) if isinstance(value, dict) else value for key, value in changes.items()}
    return {**base, **nested}
