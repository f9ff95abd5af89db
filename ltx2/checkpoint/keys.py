"""Checkpoint names are data: how each component's names in a file map onto our modules.

Weights and LoRAs go through the same tables, both when files are read and when the tiny set is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

_BLOCK = re.compile(r"(?<=blocks\.)\d+")
_LEAVES = ("weight", "bias")


@dataclass(frozen=True)
class NameTable:
    """One component of a checkpoint: which names are its own, and what our module calls them.

    Attributes:
        component: What errors call it ("transformer").
        section: Where its config lives in the metadata ("" means the top level).
        prefixes: What its names start with; the alternatives are tried in order and the first is what we write.
        pairs: (name in the file after the prefix, our name), `{n}` standing for a block's number. A name that is in no
            pair keeps its spelling where `keeps_other_names` says so, and is a stranger otherwise.
        owned: Shell patterns (after the prefix) of the names that belong to the component.
        foreign: Shell patterns of names among those that belong to another component after all.
        ignored: Shell patterns (after the prefix) of tensors that may be there and are not read.
        root: What all our names start with, where the module that the names belong to is a part of ours.
    """

    component: str
    section: str
    prefixes: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    keeps_other_names: bool = False
    owned: tuple[str, ...] = ("*",)
    foreign: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    root: str = ""

    @cached_property
    def _ours(self) -> dict[str, str]:
        return dict(self.pairs)

    @cached_property
    def _theirs(self) -> dict[str, str]:
        return {ours: theirs for theirs, ours in self.pairs}

    def to_ours(self, name: str) -> str | None:
        """Our name of a parameter or module called `name` in the file (prefix removed); None for a stranger."""
        translated = self._translate(name, self._ours)
        return None if translated is None else self.root + translated

    def to_theirs(self, name: str) -> str:
        """The file's name, prefix included, of our parameter `name`."""
        translated = self._translate(name.removeprefix(self.root), self._theirs)
        assert translated is not None, f"the {self.component} table has no name for {name}"
        return self.prefixes[0] + translated

    def prefix_in(self, keys: Iterable[str]) -> str | None:
        """Which of the prefixes this file uses, or None where it holds nothing of the component."""
        keys = list(keys)
        for prefix in self.prefixes:
            if any(self._owns(key, prefix) and self._translate(key[len(prefix) :], self._ours) for key in keys):
                return prefix
        return None

    def select(self, keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """({our name: file key}, keys under the prefix that are strangers) for the keys of one file."""
        keys = list(keys)
        prefix = self.prefix_in(keys)
        if prefix is None:
            return {}, []
        found: dict[str, str] = {}
        strangers = []
        for key in keys:
            if not self._owns(key, prefix):
                continue
            ours = self.to_ours(key[len(prefix) :])
            if ours is None:
                strangers.append(key)
            else:
                found[ours] = key
        return found, strangers

    def _owns(self, key: str, prefix: str) -> bool:
        if not key.startswith(prefix):
            return False
        name = key[len(prefix) :]
        return _matches(name, self.owned) and not _matches(name, (*self.foreign, *self.ignored))

    def _translate(self, name: str, names: Mapping[str, str]) -> str | None:
        number = _BLOCK.search(name)
        template = _BLOCK.sub("{n}", name, count=1)
        path, _, leaf = template.rpartition(".")
        if template in names:
            translated = names[template]
        elif leaf in _LEAVES and path in names:
            translated = f"{names[path]}.{leaf}"
        elif self.keeps_other_names:
            return name
        else:
            return None
        return translated.replace("{n}", number.group()) if number else translated


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _under(theirs: str, ours: str, members: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"{theirs}.{a}", f"{ours}.{b}") for a, b in members]


_ATTENTION = (
    ("to_q", "to_q"),
    ("to_k", "to_k"),
    ("to_v", "to_v"),
    ("q_norm", "query_norm"),
    ("k_norm", "key_norm"),
    ("to_gate_logits", "to_gate"),
    ("to_out.0", "to_out"),
)
_FEED_FORWARD = (("net.0.proj", "linear_in"), ("net.2", "linear_out"))
_ADALN = (
    ("emb.timestep_embedder.linear_1", "linear_1"),
    ("emb.timestep_embedder.linear_2", "linear_2"),
    ("linear", "linear_rows"),
)
_CAPTION = (("linear_1", "linear_1"), ("linear_2", "linear_2"))


def _stream_pairs(theirs: str, ours: str) -> list[tuple[str, str]]:
    """What the two streams have in common; the audio stream's names start with `audio_`."""
    block = "transformer_blocks.{n}."
    return [
        (f"{theirs}patchify_proj", f"{ours}.patchify"),
        *_under(f"{theirs}caption_projection", f"{ours}.caption_projection", _CAPTION),
        *_under(f"{theirs}adaln_single", f"{ours}.modulation", _ADALN),
        *_under(f"{theirs}prompt_adaln_single", f"{ours}.prompt_modulation", _ADALN),
        *_under(f"av_ca_{ours}_scale_shift_adaln_single", f"{ours}.exchange_modulation", _ADALN),
        (f"{theirs}scale_shift_table", f"{ours}.output_table"),
        (f"{theirs}proj_out", f"{ours}.unpatchify"),
        (f"{block}{theirs}scale_shift_table", f"blocks.{{n}}.{ours}.table"),
        (f"{block}{theirs}prompt_scale_shift_table", f"blocks.{{n}}.{ours}.prompt_table"),
        *_under(f"{block}{theirs}attn1", f"blocks.{{n}}.{ours}.self_attention", _ATTENTION),
        *_under(f"{block}{theirs}attn2", f"blocks.{{n}}.{ours}.text_attention", _ATTENTION),
        *_under(f"{block}{theirs}ff", f"blocks.{{n}}.{ours}.feed_forward", _FEED_FORWARD),
        (f"{block}scale_shift_table_a2v_ca_{ours}", f"blocks.{{n}}.exchange.{ours}_table"),
    ]


TRANSFORMER = NameTable(
    component="transformer",
    section="transformer",
    prefixes=("model.diffusion_model.", "diffusion_model.", ""),
    pairs=(
        *_stream_pairs("", "video"),
        *_stream_pairs("audio_", "audio"),
        ("keyframes_abs_pos_embedding", "video.keyframe_embedding"),
        *_under("av_ca_a2v_gate_adaln_single", "video.exchange_gate", _ADALN),
        *_under("av_ca_v2a_gate_adaln_single", "audio.exchange_gate", _ADALN),
        *_under("transformer_blocks.{n}.audio_to_video_attn", "blocks.{n}.exchange.audio_to_video", _ATTENTION),
        *_under("transformer_blocks.{n}.video_to_audio_attn", "blocks.{n}.exchange.video_to_audio", _ATTENTION),
    ),
    foreign=("*embeddings_connector.*", "text_embedding_projection.*"),
)


def _connector_pairs(stream: str, prefix: str = "model.diffusion_model.") -> list[tuple[str, str]]:
    theirs = f"{prefix}{stream}_embeddings_connector"
    block = f"{theirs}.transformer_1d_blocks.{{n}}"
    return [
        (f"{theirs}.learnable_registers", f"{stream}.registers"),
        *_under(f"{block}.attn1", f"{stream}.blocks.{{n}}.attention", _ATTENTION),
        *_under(f"{block}.ff", f"{stream}.blocks.{{n}}.feed_forward", _FEED_FORWARD),
    ]


TEXT = NameTable(
    component="text projection and connectors",
    section="transformer",
    prefixes=("",),
    pairs=(
        # GGUF files leave out some of the prefix. What is written is what stands last.
        *(pair for prefix in ("", "diffusion_model.") for pair in _connector_pairs("video", prefix)),
        *(pair for prefix in ("", "diffusion_model.") for pair in _connector_pairs("audio", prefix)),
        ("text_embedding_projection.aggregate_embed", "projection.both"),
        ("text_embedding_projection.video_aggregate_embed", "projection.video"),
        ("text_embedding_projection.audio_aggregate_embed", "projection.audio"),
        *_connector_pairs("video"),
        *_connector_pairs("audio"),
    ),
    # The prefix is empty, for the two parts have nothing in common.
    owned=(
        "text_embedding_projection.*",
        *(f"{prefix}*embeddings_connector.*" for prefix in ("model.diffusion_model.", "diffusion_model.")),
        "video_embeddings_connector.*",
        "audio_embeddings_connector.*",
    ),
)

_STATISTICS = (
    ("per_channel_statistics.mean-of-means", "statistics.mean"),
    ("per_channel_statistics.std-of-means", "statistics.std"),
)
_UNUSED_STATISTICS = (
    "per_channel_statistics.channel*",
    "per_channel_statistics.mean-of-stds*",
)

VIDEO_VAE = NameTable(
    component="video VAE",
    section="vae",
    prefixes=("vae.", ""),
    pairs=_STATISTICS,
    keeps_other_names=True,
    owned=("encoder.*", "decoder.*", "per_channel_statistics.*"),
    ignored=(*_UNUSED_STATISTICS, "decoder.type_emb*", "decoder.coarse_*"),
)
AUDIO_VAE = NameTable(
    component="audio VAE",
    section="audio_vae",
    prefixes=("audio_vae.",),
    pairs=_STATISTICS,
    keeps_other_names=True,
    ignored=_UNUSED_STATISTICS,
)
VOCODER = NameTable(component="vocoder", section="vocoder", prefixes=("vocoder.",), keeps_other_names=True)
UPSAMPLER = NameTable(component="latent upsampler", section="", prefixes=("",), keeps_other_names=True)

# The language model only: its head is its embedding table, and its eye has tables of its own. A folder of the
# newer transformers, the released folder and ComfyUI's single file differ in the prefix.
GEMMA = NameTable(
    component="Gemma 3 language model",
    section="",
    prefixes=("language_model.model.", "model.language_model.", "model."),
    keeps_other_names=True,
    ignored=("vision_tower.*", "multi_modal_projector.*", "lm_head.*"),
    root="model.",
)
