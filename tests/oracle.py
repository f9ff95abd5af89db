"""diffusers' LTX-2 models as a second oracle: built like ours, filled with our weights, under the released names.

It may judge where `sigma` is the same for both modalities and no token is masked: its rule for the exchange's
timesteps is an older one.
"""

from __future__ import annotations

import torch

from ltx2.checkpoint.keys import TRANSFORMER

_TRANSFORMER_NAMES = (
    ("proj_in.", "patchify_proj."),
    ("audio_proj_in.", "audio_patchify_proj."),
    ("time_embed.", "adaln_single."),
    ("audio_time_embed.", "audio_adaln_single."),
    ("prompt_adaln.", "prompt_adaln_single."),
    ("audio_prompt_adaln.", "audio_prompt_adaln_single."),
    ("av_cross_attn_video_scale_shift.", "av_ca_video_scale_shift_adaln_single."),
    ("av_cross_attn_video_a2v_gate.", "av_ca_a2v_gate_adaln_single."),
    ("av_cross_attn_audio_scale_shift.", "av_ca_audio_scale_shift_adaln_single."),
    ("av_cross_attn_audio_v2a_gate.", "av_ca_v2a_gate_adaln_single."),
)


def transformer_name(name):
    for theirs, released in _TRANSFORMER_NAMES:
        if name.startswith(theirs):
            name = released + name[len(theirs) :]
            break
    name = name.replace(".video_a2v_cross_attn_scale_shift_table", ".scale_shift_table_a2v_ca_video")
    name = name.replace(".audio_a2v_cross_attn_scale_shift_table", ".scale_shift_table_a2v_ca_audio")
    return "model.diffusion_model." + name.replace(".norm_q.", ".q_norm.").replace(".norm_k.", ".k_norm.")


def transformer_twin(network):
    """diffusers' transformer of our network's config, with its weights."""
    weights = {TRANSFORMER.to_theirs(name): tensor for name, tensor in network.state_dict().items()}
    return transformer_twin_of(network.config, weights)


def transformer_twin_of(config, weights):
    """diffusers' transformer of our config, with weights under the released names."""
    from diffusers import LTX2VideoTransformer3DModel

    with torch.device("meta"):
        twin = LTX2VideoTransformer3DModel(
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
    twin.load_state_dict({name: weights[transformer_name(name)] for name in twin.state_dict()}, assign=True)
    assert not any(buffer.is_meta for buffer in twin.buffers()), "diffusers left a derived table on the meta device"
    return twin.eval()


_CONNECTOR_NAMES = (
    ("video_text_proj_in.", "text_embedding_projection.video_aggregate_embed."),
    ("audio_text_proj_in.", "text_embedding_projection.audio_aggregate_embed."),
    ("text_proj_in.", "text_embedding_projection.aggregate_embed."),
    ("video_connector.", "model.diffusion_model.video_embeddings_connector."),
    ("audio_connector.", "model.diffusion_model.audio_embeddings_connector."),
)


def connector_name(name):
    """The released name of a parameter of diffusers' text connectors."""
    for theirs, released in _CONNECTOR_NAMES:
        if name.startswith(theirs):
            name = released + name.removeprefix(theirs)
            break
    name = name.replace(".transformer_blocks.", ".transformer_1d_blocks.")
    return name.replace(".norm_q.", ".q_norm.").replace(".norm_k.", ".k_norm.")


def connectors_twin(config):
    """diffusers' text connectors of our config, with whatever weights it draws."""
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    return LTX2TextConnectors(
        caption_channels=config.hidden_size,
        text_proj_in_factor=config.num_text_states,
        video_connector_num_attention_heads=config.num_heads,
        video_connector_attention_head_dim=config.head_dim,
        video_connector_num_layers=config.num_layers,
        video_gated_attn=config.is_gated,
        audio_connector_num_attention_heads=config.audio_num_heads,
        audio_connector_attention_head_dim=config.audio_head_dim,
        audio_connector_num_layers=config.num_layers,
        audio_gated_attn=config.is_gated,
        rope_type="split",
        per_modality_projections=config.has_separate_projections,
        video_hidden_dim=config.video_dim,
        audio_hidden_dim=config.audio_dim,
        proj_bias=config.has_separate_projections,
    ).eval()


def upsampler_twin(config):
    """diffusers' latent upsampler of our config, with whatever weights it draws."""
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    return LTX2LatentUpsamplerModel(
        in_channels=config.in_channels,
        mid_channels=config.mid_channels,
        num_blocks_per_stage=config.num_blocks_per_stage,
        spatial_upsample=config.spatial_upsample,
        temporal_upsample=config.temporal_upsample,
        rational_spatial_scale=config.spatial_scale,
        use_rational_resampler=config.rational_resampler,
    ).eval()
