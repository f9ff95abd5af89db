"""The hyper-parameters of the convolutional video VAE, read from `config["vae"]` in its flat or its nested form.

The flat form (2.0, 2.3) describes encoder and decoder; the nested form (2.5) has a diffusion decoder, a network of its
own, and is read for its encoder only. Block lists are kept as the checkpoint writes them: the decoder runs its list
from the last entry to the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from .section import Section

# Frames, height and width that one block divides (encoder, "_res") or multiplies (decoder).
_STRIDES = {"res_x": (1, 1, 1), "compress_time": (2, 1, 1), "compress_space": (1, 2, 2), "compress_all": (2, 2, 2)}
_ENCODER_KINDS = ("res_x", "compress_time_res", "compress_space_res", "compress_all_res")
_DECODER_KINDS = ("res_x", "compress_time", "compress_space", "compress_all")
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


@dataclass(frozen=True)
class Block:
    """One entry of a block list: residual blocks at one width (`res_x`), or a change of resolution (`compress_*`)."""

    kind: str
    num_layers: int = 1
    multiplier: int = 1
    residual: bool = False

    @property
    def stride(self) -> tuple[int, int, int]:
        """Factor of (frames, height, width)."""
        return _STRIDES[self.kind.removesuffix("_res")]


@dataclass(frozen=True)
class VideoVAEConfig:
    """Widths follow from `latent_channels` (encoder), `decoder_base_channels` (decoder) and the blocks' multipliers."""

    encoder_blocks: tuple[Block, ...]
    decoder_blocks: tuple[Block, ...] | None
    pixel_channels: int = 3
    latent_channels: int = 128
    decoder_base_channels: int = 128
    patch_size: int = 4
    encoder_padding_mode: PaddingMode = "zeros"
    decoder_padding_mode: PaddingMode = "reflect"
    decoder_is_causal: bool = False
    timestep_conditioning: bool = False

    @property
    def compression(self) -> tuple[int, int, int]:
        """Pixels per latent along (frames, height, width); n latent frames stand for 1 + compression * (n - 1)."""
        return _compression(self.encoder_blocks, self.patch_size)

    @property
    def temporal_compression(self) -> int:
        return self.compression[0]

    @property
    def spatial_compression(self) -> int:
        return self.compression[1]

    @property
    def decoder_bottleneck(self) -> int:
        """Channels of the decoder's first block."""
        return self.decoder_base_channels * prod(block.multiplier for block in self.decoder_blocks or ())

    @classmethod
    def from_section(cls, section: Section) -> VideoVAEConfig:
        section.take("_class_name", None, choices=(None, "CausalVideoAutoencoder", "CausalDiffusionVAE"))
        config = cls._from_nested(section) if "encoder" in section.raw else cls._from_flat(section)
        section.problems.extend(f"{section.path}.{problem}" for problem in _width_problems(config))
        return config

    @classmethod
    def _from_flat(cls, section: Section) -> VideoVAEConfig:
        section.expect(scaling_factor=1.0, use_quant_conv=False, normalize_latent_channels=False)
        section.ignore("encoder_base_channels")  # the first width is latent_channels, whatever this says
        shared = _read_shared(section)
        section.expect(out_channels=shared["pixel_channels"])
        # Where present it stands for both networks; absent (2.0), each has a mode of its own.
        shared_mode = section.take("spatial_padding_mode", None, choices=(None, *_PADDING_MODES))
        return cls(
            **shared,
            encoder_blocks=_read_blocks(section, "encoder_blocks", _ENCODER_KINDS),
            decoder_blocks=_read_blocks(section, "decoder_blocks", _DECODER_KINDS),
            latent_channels=section.take("latent_channels", 128, least=1),
            decoder_base_channels=section.take("decoder_base_channels", 128, least=1),
            encoder_padding_mode=_padding_mode(section, "encoder_spatial_padding_mode", shared_mode or "zeros"),
            decoder_padding_mode=_padding_mode(section, "decoder_spatial_padding_mode", shared_mode or "reflect"),
            decoder_is_causal=section.take("causal_decoder", False),
            timestep_conditioning=section.take("timestep_conditioning", True),
        )

    @classmethod
    def _from_nested(cls, section: Section) -> VideoVAEConfig:
        section.ignore("decoder", "model_output_type")  # the diffusion decoder reads these
        latent_channels = section.take("latent_channels", 128, least=1)
        encoder = section.child("encoder")
        encoder.expect(out_channels=latent_channels)
        return cls(
            **_read_shared(encoder),
            encoder_blocks=_read_blocks(encoder, "blocks", _ENCODER_KINDS),
            decoder_blocks=None,
            latent_channels=latent_channels,
            encoder_padding_mode=_padding_mode(encoder, "spatial_padding_mode", "zeros"),
        )


def _read_shared(section: Section) -> dict[str, Any]:
    section.expect(dims=3, norm_layer="pixel_norm")
    section.take("latent_log_var", "uniform", choices=("uniform", "constant"))  # one extra channel, which is dropped
    return {
        "pixel_channels": section.take("in_channels", 3, least=1),
        "patch_size": section.take("patch_size", 4, least=1),
    }


def _padding_mode(section: Section, key: str, default: PaddingMode) -> PaddingMode:
    return section.take(key, default, choices=_PADDING_MODES)


def _read_blocks(section: Section, key: str, kinds: tuple[str, ...]) -> tuple[Block, ...]:
    entries = section.take(key)
    if not isinstance(entries, tuple):
        if entries is not None:
            section.problems.append(f"{section.path}.{key} must be a list of [kind, parameters]; got {entries!r}")
        return ()
    blocks = (_read_block(section, f"{key}[{i}]", entry, kinds) for i, entry in enumerate(entries))
    return tuple(block for block in blocks if block is not None)


def _read_block(section: Section, name: str, entry: object, kinds: tuple[str, ...]) -> Block | None:
    if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], (int, Mapping))):
        section.problems.append(f"{section.path}.{name} must be [kind, parameters]; got {entry!r}")
        return None
    kind, raw = entry
    if kind not in kinds:
        supported = ", ".join(kinds)
        section.problems.append(f"{section.path}.{name}: block {kind!r} is not supported (supported: {supported})")
        return None
    parameters = Section({"num_layers": raw} if isinstance(raw, int) else raw, f"{section.path}.{name}", section)
    parameters.expect(inject_noise=False)
    if kind == "res_x":
        block = Block(kind, num_layers=parameters.take("num_layers", 1))
    elif kind.endswith("_res"):
        block = Block(kind, multiplier=parameters.take("multiplier", 2))
    else:
        block = Block(kind, multiplier=parameters.take("multiplier", 1), residual=parameters.take("residual", False))
    if min(block.num_layers, block.multiplier) < 1:
        section.problems.append(f"{section.path}.{name}: counts must be at least 1; got {raw!r}")
        return None
    return block


def _compression(blocks: tuple[Block, ...], patch_size: int) -> tuple[int, int, int]:
    strides = [(1, patch_size, patch_size), *(block.stride for block in blocks)]
    time, height, width = (prod(factors) for factors in zip(*strides, strict=True))
    return time, height, width


def _width_problems(config: VideoVAEConfig) -> list[str]:
    """What keeps the two lists from making one VAE: channels that do not divide, ratios that differ."""
    problems = []
    width = config.latent_channels
    for i, block in enumerate(config.encoder_blocks):
        volume = prod(block.stride)
        if volume % block.multiplier or (width * block.multiplier) % volume:
            problems.append(f"encoder_blocks[{i}]: {width} channels cannot become {width * block.multiplier}")
        width *= block.multiplier
    for i, block in enumerate(config.decoder_blocks or ()):
        if block.residual and prod(block.stride) % block.multiplier:
            problems.append(f"decoder_blocks[{i}]: a residual cannot reduce channels by {block.multiplier}")
    if config.decoder_blocks is not None:
        encoder, decoder = (_compression(b, config.patch_size) for b in (config.encoder_blocks, config.decoder_blocks))
        if encoder != decoder:
            problems.append(f"decoder_blocks expands (frames, height, width) by {decoder}; the encoder has {encoder}")
    return problems
