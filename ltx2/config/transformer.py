"""The diffusion transformer's configuration, read from the metadata section "transformer"."""

from __future__ import annotations

from dataclasses import dataclass

from .section import Section


@dataclass(frozen=True)
class StreamConfig:
    """One modality's side of the transformer."""

    in_channels: int
    out_channels: int
    num_heads: int
    head_dim: int
    context_dim: int
    max_positions: tuple[int, ...]
    ff_bias: bool

    @property
    def width(self) -> int:
        return self.num_heads * self.head_dim


@dataclass(frozen=True)
class TransformerConfig:
    """Hyper-parameters of one LTX-2 transformer; what differs between releases is a field.

    Attributes:
        rope_float64: Frequencies computed in float64 (every release; older configs lack the key and mean fp32).
        exchange_timestep_scale: Multiplies sigma before it gates the audio-video exchange.
        gated: Attention heads are gated (2.3+).
        text_modulation: Nine AdaLN rows in place of six and modulated text keys and values (2.3+).
        prompt_modulation: The text modulation follows sigma; without it only the blocks' own tables apply.
        caption_projection: The context passes an MLP inside the transformer (2.0).
        keyframe_embedding: A learned mark on keyframe tokens (2.5).
    """

    num_layers: int = 48
    in_channels: int = 128
    out_channels: int = 128
    num_heads: int = 32
    head_dim: int = 128
    cross_attention_dim: int = 4096
    max_positions: tuple[int, ...] = (20, 2048, 2048)
    audio_in_channels: int = 128
    audio_out_channels: int = 128
    audio_num_heads: int = 32
    audio_head_dim: int = 64
    audio_cross_attention_dim: int = 2048
    audio_max_positions: tuple[int, ...] = (20,)
    caption_channels: int = 3840
    norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_interleaved: bool = False
    rope_float64: bool = False
    middle_positions: bool = True
    timestep_scale: float = 1000.0
    exchange_timestep_scale: float = 1.0
    gated: bool = False
    text_modulation: bool = False
    prompt_modulation: bool = True
    ff_bias: bool = True
    audio_ff_bias: bool = True
    keyframe_embedding: bool = False
    caption_projection: bool = True

    @property
    def video(self) -> StreamConfig:
        return StreamConfig(
            self.in_channels,
            self.out_channels,
            self.num_heads,
            self.head_dim,
            self.cross_attention_dim,
            self.max_positions,
            self.ff_bias,
        )

    @property
    def audio(self) -> StreamConfig:
        return StreamConfig(
            self.audio_in_channels,
            self.audio_out_channels,
            self.audio_num_heads,
            self.audio_head_dim,
            self.audio_cross_attention_dim,
            self.audio_max_positions,
            self.audio_ff_bias,
        )

    @property
    def num_rows(self) -> int:
        """AdaLN rows of a block: shift, scale, gate of self-attention and feed-forward, and of the text query."""
        return 9 if self.text_modulation else 6

    @classmethod
    def from_section(cls, section: Section) -> TransformerConfig:
        _expect_constants(section)
        section.ignore(
            "connector_*", "audio_connector_*", "use_embeddings_connector", "_class_name", "_diffusers_version"
        )
        section.ignore("text_encoder_norm_type", "causal_temporal_positioning", "caption_projection_*_linear")
        section.ignore("caption_proj_input_norm")
        config = cls(
            num_layers=section.take("num_layers", cls.num_layers, least=1),
            in_channels=section.take("in_channels", cls.in_channels, least=1),
            out_channels=section.take("out_channels", cls.out_channels, least=1),
            num_heads=section.take("num_attention_heads", cls.num_heads, least=1),
            head_dim=section.take("attention_head_dim", cls.head_dim, least=1),
            cross_attention_dim=section.take("cross_attention_dim", cls.cross_attention_dim, least=1),
            max_positions=section.take("positional_embedding_max_pos", cls.max_positions, least=1),
            audio_in_channels=section.take("audio_in_channels", cls.audio_in_channels, least=1),
            audio_out_channels=section.take("audio_out_channels", cls.audio_out_channels, least=1),
            audio_num_heads=section.take("audio_num_attention_heads", cls.audio_num_heads, least=1),
            audio_head_dim=section.take("audio_attention_head_dim", cls.audio_head_dim, least=1),
            audio_cross_attention_dim=section.take("audio_cross_attention_dim", cls.audio_cross_attention_dim, least=1),
            audio_max_positions=section.take("audio_positional_embedding_max_pos", cls.audio_max_positions, least=1),
            caption_channels=section.take("caption_channels", cls.caption_channels, least=1),
            norm_eps=section.take("norm_eps", cls.norm_eps),
            rope_theta=section.take("positional_embedding_theta", cls.rope_theta),
            rope_interleaved=section.take("rope_type", "split", choices=("split", "interleaved")) == "interleaved",
            rope_float64=section.take("frequencies_precision", "float32", choices=("float32", "float64")) == "float64",
            middle_positions=section.take("use_middle_indices_grid", cls.middle_positions),
            timestep_scale=section.take("timestep_scale_multiplier", cls.timestep_scale),
            exchange_timestep_scale=section.take("av_ca_timestep_scale_multiplier", cls.exchange_timestep_scale),
            gated=section.take("apply_gated_attention", cls.gated),
            text_modulation=section.take("cross_attention_adaln", cls.text_modulation),
            prompt_modulation=section.take("use_prompt_adaln_single", cls.prompt_modulation),
            ff_bias=section.take("ff_bias", cls.ff_bias),
            audio_ff_bias=section.take("audio_ff_bias", cls.audio_ff_bias),
            keyframe_embedding=section.take("use_keyframes_abs_pos_embedding", cls.keyframe_embedding),
            caption_projection=not section.take("caption_proj_before_connector", not cls.caption_projection),
        )
        if config.num_heads != config.audio_num_heads:
            section.problems.append(
                f"{section.path}: num_attention_heads and audio_num_attention_heads must be equal; "
                f"got {config.num_heads} and {config.audio_num_heads}"
            )
        return config


def _expect_constants(section: Section) -> None:
    section.expect(
        dropout=0.0,
        attention_bias=True,
        num_vector_embeds=None,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        use_linear_projection=False,
        only_cross_attention=False,
        cross_attention_norm=True,
        double_self_attention=False,
        upcast_attention=False,
        standardization_norm="rms_norm",
        norm_elementwise_affine=False,
        qk_norm="rms_norm",
        positional_embedding_type="rope",
        use_audio_video_cross_attention=True,
        share_ff=False,
        av_cross_ada_norm=True,
    )
