"""Configs of the text side: Gemma 3 (from a config.json) and the LTX-2 text connectors (from checkpoint metadata)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelFileError
from .section import Section, parse

# Keys that say which feature extractor the file has: all of them, or none.
_SEPARATE_PROJECTIONS = {
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "caption_proj_input_norm": False,
}
_READ_BY_THE_TRANSFORMER = "*"


@dataclass(frozen=True)
class ConnectorsConfig:
    """What turns Gemma's hidden states into the contexts of the transformer.

    The projection's outputs are as wide as the connectors. `num_text_states` (Gemma's layers + 1) is not stated in any
    config: `with_projection_width` takes it from the projection's weight.
    """

    hidden_size: int = 3840
    num_text_states: int = 49
    has_separate_projections: bool = False
    num_layers: int = 2
    num_registers: int = 128
    num_heads: int = 30
    head_dim: int = 128
    audio_num_heads: int = 30
    audio_head_dim: int = 128
    is_gated: bool = False
    max_positions: tuple[int, ...] = (4096,)
    theta: float = 10000.0
    rope_type: str = "split"
    frequencies_precision: str = "float64"
    norm_eps: float = 1e-6

    @property
    def video_dim(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def audio_dim(self) -> int:
        return self.audio_num_heads * self.audio_head_dim

    @property
    def projection_width(self) -> int:
        """Features of one token that enter the projection: every state of Gemma, side by side."""
        return self.hidden_size * self.num_text_states

    @classmethod
    def from_section(cls, section: Section) -> ConnectorsConfig:
        """Read the "transformer" section of a checkpoint's config; the transformer's own keys are left to it."""
        section.expect(use_embeddings_connector=True, connector_norm_output=True, standardization_norm="rms_norm")
        separate = section.take("caption_proj_before_connector", False)
        if separate:
            section.expect(**_SEPARATE_PROJECTIONS)
        num_heads = section.take("connector_num_attention_heads", cls.num_heads, least=1)
        head_dim = section.take("connector_attention_head_dim", cls.head_dim, least=1)
        section.ignore(_READ_BY_THE_TRANSFORMER)
        return cls(
            hidden_size=section.take("caption_channels", cls.hidden_size, least=1),
            has_separate_projections=separate,
            num_layers=section.take("connector_num_layers", cls.num_layers, least=1),
            num_registers=section.take("connector_num_learnable_registers", cls.num_registers, least=1),
            num_heads=num_heads,
            head_dim=head_dim,
            # 2.0 states one connector, which both modalities have.
            audio_num_heads=section.take("audio_connector_num_attention_heads", num_heads, least=1),
            audio_head_dim=section.take("audio_connector_attention_head_dim", head_dim, least=1),
            is_gated=section.take("connector_apply_gated_attention", cls.is_gated),
            max_positions=section.take("connector_positional_embedding_max_pos", cls.max_positions, least=1),
            rope_type=section.take("rope_type", cls.rope_type, choices=("split", "interleaved")),
            frequencies_precision=section.take("frequencies_precision", "float32", choices=("float32", "float64")),
            norm_eps=section.take("norm_eps", cls.norm_eps),
        )

    def with_projection_width(self, width: int) -> ConnectorsConfig:
        """The config with the number of Gemma states that a projection of `width` input features takes.

        Raises ModelFileError when `width` is no multiple of the text model's hidden size.
        """
        if width % self.hidden_size:
            raise ModelFileError(
                "the text projection's input features must be a multiple of the text model's hidden size "
                f"({self.hidden_size}, caption_channels); got {width}. The checkpoint's config does not belong to its "
                "weights: use the released file"
            )
        return replace(self, num_text_states=width // self.hidden_size)


@dataclass(frozen=True)
class GemmaConfig:
    """Gemma 3, language model only. The defaults are those of the released 12B, for single files hold no config."""

    vocab_size: int = 262208
    hidden_size: int = 3840
    intermediate_size: int = 15360
    num_layers: int = 48
    num_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 256
    query_scale: int = 256
    sliding_window: int = 1024
    global_every: int = 6
    theta: float = 1_000_000.0
    local_theta: float = 10_000.0
    position_factor: float = 8.0
    max_positions: int = 131072
    norm_eps: float = 1e-6

    @property
    def num_states(self) -> int:
        """Hidden states that the model offers: the embeddings and one per layer."""
        return self.num_layers + 1

    @property
    def layer_types(self) -> tuple[str, ...]:
        """transformers' names of what each layer attends to; every `global_every`-th sees all tokens."""
        is_global = [(index + 1) % self.global_every == 0 for index in range(self.num_layers)]
        return tuple("full_attention" if each else "sliding_attention" for each in is_global)

    @classmethod
    def from_huggingface(cls, raw: Mapping[str, Any], source: str = "the text encoder") -> GemmaConfig:
        """Read a config.json, with the language model's part nested in `text_config` or flat.

        Absent keys have transformers' defaults. `source` is the name of the folder or file.
        Raises ModelFileError for anything but Gemma 3.
        """
        text = raw.get("text_config", raw) if isinstance(raw, Mapping) else raw
        if not isinstance(text, Mapping):
            raise ModelFileError(
                f"{source}: its config and text_config in there must be JSON objects; got {text!r:.60}. "
                "Get the file anew"
            )
        family = text.get("model_type", raw.get("model_type"))
        if family not in ("gemma3", "gemma3_text"):
            raise ModelFileError(
                f"{source} must be Gemma 3 12B (model_type gemma3); its config.json says {family!r}. "
                "Choose google/gemma-3-12b-it-qat-q4_0-unquantized"
            )
        return parse(cls, text, "text_config", source)

    @classmethod
    def from_section(cls, section: Section) -> GemmaConfig:
        """Read the language model's part of a config.json."""
        section.expect(
            hidden_activation="gelu_pytorch_tanh",
            attention_bias=False,
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
        )
        section.take("use_bidirectional_attention", False, choices=(False, None))
        theta, local_theta, factor = _rotary_settings(section)
        config = cls(
            vocab_size=section.take("vocab_size", cls.vocab_size, least=1),
            hidden_size=section.take("hidden_size", 2304, least=1),
            intermediate_size=section.take("intermediate_size", 9216, least=1),
            num_layers=section.take("num_hidden_layers", 26, least=1),
            num_heads=section.take("num_attention_heads", 8, least=1),
            num_key_value_heads=section.take("num_key_value_heads", 4, least=1),
            head_dim=section.take("head_dim", 256, least=1),
            query_scale=section.take("query_pre_attn_scalar", 256, least=1),
            sliding_window=section.take("sliding_window", 4096, least=1),
            global_every=section.take(
                "sliding_window_pattern", section.take("_sliding_window_pattern", 6, least=1), least=1
            ),
            theta=theta,
            local_theta=local_theta,
            position_factor=factor,
            max_positions=section.take("max_position_embeddings", cls.max_positions, least=1),
            norm_eps=section.take("rms_norm_eps", cls.norm_eps),
        )
        section.expect(layer_types=config.layer_types)
        # Training, generation and serialisation: nothing that changes hidden states.
        section.ignore("*")
        return config


def _rotary_settings(section: Section) -> tuple[float, float, float]:
    """Global theta, local theta and the global layers' position factor, from the old keys or the new ones."""
    if "rope_parameters" in section.raw:
        both = section.child("rope_parameters")
        full, sliding = both.child("full_attention"), both.child("sliding_attention")
        theta = full.take("rope_theta", GemmaConfig.theta)
        local_theta = sliding.take("rope_theta", GemmaConfig.local_theta)
        sliding.expect(rope_type="default")
    else:
        full = section.child("rope_scaling") if section.raw.get("rope_scaling") else Section({}, "rope_scaling")
        theta = section.take("rope_theta", GemmaConfig.theta)
        local_theta = section.take("rope_local_base_freq", GemmaConfig.local_theta)
    full.take("rope_type", "default", choices=("default", "linear"))
    return theta, local_theta, full.take("factor", 1.0)
