"""The transformer and diffusers' twin of it, built from one config, with inputs for either.

Shapes: T video tokens, A audio tokens, S context tokens.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from importlib import resources

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.config.section import parse
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.geometry import audio_latents, latent_frames
from comfyui_ltx2.ltx2.layers.modulation import Levels
from comfyui_ltx2.ltx2.networks.transformer.inputs import StreamInput
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from comfyui_ltx2.ltx2.tokens import audio_positions, video_positions
from torch import Tensor, nn

FRAME_RATE = 24.0
CONTEXT_LENGTH = 1024
SIGMA = 0.7

# What diffusers' video VAE of each release is built with, where its defaults differ.
_VIDEO_VAES: dict[str, dict[str, object]] = {
    "2.0": {},
    "2.3": {
        "block_out_channels": (256, 512, 1024, 1024),
        "layers_per_block": (4, 6, 4, 2, 2),
        "decoder_block_out_channels": (256, 512, 512, 1024),
        "decoder_layers_per_block": (4, 6, 4, 2, 2),
        "decoder_spatio_temporal_scaling": (True,) * 4,
        "decoder_inject_noise": (False,) * 5,
        "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
        "upsample_residual": (False,) * 4,
        "upsample_factor": (2, 2, 1, 2),
        "decoder_spatial_padding_mode": "zeros",
    },
}


@dataclass(frozen=True)
class Clip:
    """A clip in pixels; `is_conditioned` freezes its first frame, as image to video does."""

    width: int
    height: int
    frames: int
    is_conditioned: bool = False

    @property
    def grid(self) -> tuple[int, int, int]:
        return latent_frames(self.frames), self.height // 32, self.width // 32

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid)

    @property
    def audio_length(self) -> int:
        return audio_latents(self.frames, FRAME_RATE)

    def timesteps(self) -> Tensor:
        """(1, T) noise level of each video token, on the CPU."""
        levels = torch.full((1, self.num_tokens), SIGMA)
        if self.is_conditioned:
            levels[:, : self.grid[1] * self.grid[2]] = 0.0
        return levels


def transformer_config(release: str, **changes: int) -> TransformerConfig:
    """The released config, with some sizes changed."""
    file = resources.files("comfyui_ltx2.ltx2.config") / "released" / f"{release}.json"
    config = parse(TransformerConfig, json.loads(file.read_text("utf-8"))["transformer"], "transformer")
    return replace(config, **changes)


def ours(config: TransformerConfig) -> Transformer:
    """Our transformer, on the meta device."""
    return on_meta(lambda: Transformer(config))


def twin(config: TransformerConfig) -> nn.Module:
    """diffusers' transformer of the same config, on the meta device."""
    from diffusers import LTX2VideoTransformer3DModel
    from diffusers.utils.logging import set_verbosity_error

    set_verbosity_error()  # it warns about every cast

    return on_meta(
        lambda: LTX2VideoTransformer3DModel(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            cross_attention_dim=config.cross_attention_dim,
            audio_in_channels=config.audio_in_channels,
            audio_out_channels=config.audio_out_channels,
            audio_num_attention_heads=config.audio_num_heads,
            audio_attention_head_dim=config.audio_head_dim,
            audio_cross_attention_dim=config.audio_cross_attention_dim,
            num_layers=config.num_layers,
            caption_channels=config.caption_channels,
            gated_attn=config.gated,
            audio_gated_attn=config.gated,
            cross_attn_mod=config.text_modulation,
            audio_cross_attn_mod=config.text_modulation,
            use_prompt_embeddings=config.caption_projection,
            rope_type="split",
            rope_double_precision=True,
        )
    )


def video_vae_twin(release: str, **changes: object) -> nn.Module:
    """diffusers' video VAE of a release, on the meta device; `changes` are arguments of its own."""
    from diffusers import AutoencoderKLLTX2Video
    from diffusers.utils.logging import set_verbosity_error

    set_verbosity_error()  # it warns about every cast

    common = {"decoder_causal": False, "spatial_compression_ratio": 32, "temporal_compression_ratio": 8}
    return on_meta(lambda: AutoencoderKLLTX2Video(**{**common, **_VIDEO_VAES[release], **changes}))


def our_inputs(network: Transformer, clip: Clip, *, device: str, dtype: torch.dtype) -> tuple[StreamInput, StreamInput]:
    """Video and audio input; rotary tables are made once for a sampling run, in its dtype."""
    config, like = network.config, torch.empty((), device=device, dtype=dtype)
    timesteps = {"video": clip.timesteps(), "audio": torch.full((1, clip.audio_length), SIGMA)}
    positions = {"video": video_positions(clip.grid, FRAME_RATE), "audio": audio_positions(clip.audio_length)}
    streams = []
    for name, stream in (("video", config.video), ("audio", config.audio)):
        own, exchange = network.rotary(stream, positions[name].to(device))
        levels = Levels.of(timesteps[name])
        streams.append(
            StreamInput(
                latent=like.new_ones(1, timesteps[name].shape[1], stream.in_channels).normal_(),
                sigma=torch.tensor([SIGMA], device=device),
                levels=Levels(levels.values.to(device), levels.spans),
                contexts=(like.new_ones(1, CONTEXT_LENGTH, _context_width(config, stream.context_dim)).normal_(),),
                rotary=own.to(like),
                exchange_rotary=exchange.to(like),
            )
        )
    return streams[0], streams[1]


def their_inputs(clip: Clip, video: StreamInput, audio: StreamInput) -> dict[str, object]:
    """The same for diffusers, as its pipelines call it by default: a timestep per token only where a frame is given.

    Its exchange then follows the other modality's one level, which is less work than the reference's rule.
    """
    sigma = video.sigma * 1000
    mask = torch.ones(video.contexts[0].shape[:2], dtype=torch.long, device=sigma.device)
    return {
        "hidden_states": video.latent,
        "audio_hidden_states": audio.latent,
        "encoder_hidden_states": video.contexts[0],
        "audio_encoder_hidden_states": audio.contexts[0],
        # Its connectors fill every slot, and it hands on the mask that says so.
        "encoder_attention_mask": mask,
        "audio_encoder_attention_mask": mask,
        "timestep": clip.timesteps().to(sigma.device) * 1000 if clip.is_conditioned else sigma,
        "audio_timestep": sigma,
        "sigma": sigma,
        "audio_sigma": sigma,
        "num_frames": clip.grid[0],
        "height": clip.grid[1],
        "width": clip.grid[2],
        "fps": FRAME_RATE,
        "audio_num_frames": clip.audio_length,
        "use_cross_timestep": True,
        "return_dict": False,
    }


def _context_width(config: TransformerConfig, context_dim: int) -> int:
    return config.caption_channels if config.caption_projection else context_dim
