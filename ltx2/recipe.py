"""What travels on a model wire: a frozen description of a network as the user assembled it. No weights.

Recipes compare by value, so equal recipes are one network. Opening one reads headers only and audits every name and
shape, so that a bad file fails where it was chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from .checkpoint.gemma import check_fits, load_gemma, load_tokenizer, read_config
from .checkpoint.keys import AUDIO_VAE, GEMMA, TEXT, TRANSFORMER, UPSAMPLER, VIDEO_VAE, VOCODER, NameTable
from .checkpoint.load import audit, build, on_meta
from .checkpoint.lora import Lora, merge_of
from .checkpoint.reader import Checkpoint
from .checkpoint.release import release_of, require_component, section_of
from .config.audio_vae import AudioVAEConfig
from .config.section import parse
from .config.text import ConnectorsConfig, GemmaConfig
from .config.transformer import TransformerConfig
from .config.upsampler import UpsamplerConfig
from .config.video_vae import VideoVAEConfig
from .config.vocoder import VocoderConfig
from .errors import LTX2Error, ModelFileError
from .networks.audio_vae.model import AudioVAE
from .networks.text.connector import TextConnectors
from .networks.text.encoder import TextEncoder
from .networks.text.gemma import Gemma3
from .networks.transformer.model import Transformer
from .networks.upsampler import Upsampler
from .networks.video_vae.model import VideoVAE
from .networks.vocoder.model import Vocoder

logger = logging.getLogger("ltx2")


class Lease:
    """Alive for as long as somebody holds the recipe; a cache frees the network when the last lease is gone."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True)
class FileId:
    """A file or folder as it was when it was chosen: a changed file makes another recipe."""

    path: Path
    stamp: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, path: str | Path) -> FileId:
        path = Path(path).resolve()
        files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
        stats = [(file.name, file.stat()) for file in files if file.exists()]
        return cls(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@dataclass(frozen=True, repr=False)
class Recipe:
    """One network: its file, its config, and what was stacked onto it.

    Attributes:
        release: "2.0", "2.3", "2.5", or "any".
        loras: (file, strength) in the order in which they were added.
    """

    kind: ClassVar[str] = "network"

    file: FileId
    config: Any
    release: str
    loras: tuple[tuple[FileId, float], ...] = ()
    lease: Lease | None = field(default_factory=Lease, compare=False)

    def __repr__(self) -> str:
        extra = f" + {len(self.loras)} LoRA" if self.loras else ""
        return f"<LTX-2 {self.kind} {self.file.path.name}{extra}>"

    def without_lease(self) -> Recipe:
        """An equal recipe that keeps nothing alive."""
        return replace(self, lease=None)

    def build(self) -> nn.Module:
        """The network, its weights mapped from the file and its LoRAs merged."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class _SingleNetwork(Recipe):
    """A network that is one component of one file."""

    table: ClassVar[NameTable]
    network: ClassVar[Callable[[Any], nn.Module]]
    config_class: ClassVar[Any]

    @classmethod
    def open(cls, path: str | Path) -> Any:
        """Read the headers of `path`. Raises ModelFileError where it is not what is needed here."""
        checkpoint = Checkpoint.open(path)
        section = section_of(checkpoint, cls.table)
        config = parse(cls.config_class, section, cls.table.section or "config", checkpoint.name)
        audit(on_meta(lambda: cls.network(config)), cls.table, checkpoint)
        return cls(FileId.of(path), config, release_of(checkpoint, cls.table))

    def build(self) -> nn.Module:
        return build(
            lambda: type(self).network(self.config), self.table, Checkpoint.open(self.file.path), self._merge()
        )

    def _merge(self) -> Any:
        return merge_of(_opened(self.loras), "transformer")


@dataclass(frozen=True, repr=False)
class TransformerRecipe(_SingleNetwork):
    kind = "transformer"
    table = TRANSFORMER
    network = Transformer
    config_class = TransformerConfig

    def with_lora(self, path: str | Path, strength: float) -> TransformerRecipe:
        """This transformer with a LoRA on top. Raises ModelFileError where nothing of it fits."""
        lora = Lora.open(Path(path))
        if not lora.transformer:
            return self
        lora.check(_shapes(Transformer, self.config), lora.transformer, self.kind)
        return replace(self, loras=(*self.loras, (FileId.of(path), strength)), lease=Lease())


@dataclass(frozen=True, repr=False)
class VideoVAERecipe(_SingleNetwork):
    kind = "video VAE"
    table = VIDEO_VAE
    network = VideoVAE
    config_class = VideoVAEConfig

    @property
    def image_crf(self) -> int:
        """How strongly images were compressed when the model was trained: 33 up to 2.3, 18 from 2.4 on."""
        return 18 if self.release == "2.5" else 33


@dataclass(frozen=True, repr=False)
class AudioVAERecipe(_SingleNetwork):
    kind = "audio VAE"
    table = AUDIO_VAE
    network = AudioVAE
    config_class = AudioVAEConfig


@dataclass(frozen=True, repr=False)
class VocoderRecipe(_SingleNetwork):
    kind = "vocoder"
    table = VOCODER
    network = Vocoder
    config_class = VocoderConfig


@dataclass(frozen=True, repr=False)
class UpsamplerRecipe(_SingleNetwork):
    kind = "latent upsampler"
    table = UPSAMPLER
    network = Upsampler
    config_class = UpsamplerConfig


@dataclass(frozen=True, repr=False)
class TextEncoderRecipe(Recipe):
    """Gemma in `file`; the projection and the connectors in `checkpoint`. `config` is Gemma's."""

    kind = "text encoder"

    checkpoint: FileId = None  # type: ignore[assignment] - required; a default only because the base has some
    connectors: ConnectorsConfig = None  # type: ignore[assignment] - likewise

    @classmethod
    def open(cls, gemma: str | Path, checkpoint: str | Path) -> TextEncoderRecipe:
        """Read the headers of both files. Raises ModelFileError where they are not what is needed, or do not match."""
        text, weights = Checkpoint.open(gemma), Checkpoint.open(checkpoint)
        gemma_config = read_config(text)
        connectors = read_connectors(weights)
        check_fits(gemma_config, connectors, text.name)
        audit(on_meta(lambda: TextConnectors(connectors)), TEXT, weights)
        audit(on_meta(lambda: Gemma3(gemma_config)), GEMMA, text)
        release = release_of(weights, TEXT)
        return cls(FileId.of(gemma), gemma_config, release, checkpoint=FileId.of(checkpoint), connectors=connectors)

    def with_lora(self, path: str | Path, strength: float) -> TextEncoderRecipe:
        """These connectors with a LoRA on top; Gemma itself is never changed."""
        lora = Lora.open(Path(path))
        if not lora.text:
            return self
        lora.check(_shapes(TextConnectors, self.connectors), lora.text, "text connectors")
        return replace(self, loras=(*self.loras, (FileId.of(path), strength)), lease=Lease())

    def build(self) -> TextEncoder:
        text = Checkpoint.open(self.file.path)
        merge = merge_of(_opened(self.loras), "text")
        source = Checkpoint.open(self.checkpoint.path)
        connectors = build(lambda: TextConnectors(self.connectors), TEXT, source, merge)
        config: GemmaConfig = self.config
        return TextEncoder(load_tokenizer(text), load_gemma(text, config), connectors)


def with_lora(
    transformer: TransformerRecipe, text_encoder: TextEncoderRecipe | None, path: str | Path, strength: float
) -> tuple[TransformerRecipe, TextEncoderRecipe | None]:
    """Both with a LoRA on top, as far as it changes them.

    Raises:
        ModelFileError: it fits neither, or changes only text connectors and there are none to change.
    """
    lora = Lora.open(Path(path))
    if text_encoder is None and lora.text:
        cure = "connect the text encoder to the LTX-2 LoRA node too"
        name = lora.checkpoint.name
        if not lora.transformer:
            raise ModelFileError(f"{name} changes only the text connectors: {cure}")
        logger.warning("%s: its %d changes of the text connectors are left out: %s", name, len(lora.text), cure)
    text_encoder = text_encoder and text_encoder.with_lora(path, strength)
    return transformer.with_lora(path, strength), text_encoder


def read_connectors(checkpoint: Checkpoint) -> ConnectorsConfig:
    """The config of the text connectors in an LTX-2 checkpoint. Raises ModelFileError where there are none."""
    section = section_of(checkpoint, TEXT)
    config = parse(ConnectorsConfig, section, TEXT.section, checkpoint.name)
    found, _ = TEXT.select(checkpoint.entries)
    key = found.get("projection.both.weight") or found.get("projection.video.weight")
    if key is None:
        require_component(checkpoint, TEXT)
        raise LTX2Error(f"{checkpoint.name} must hold the text projection; its weight is missing")
    shape = checkpoint.entries[key].shape
    if len(shape) != 2:
        raise ModelFileError(f"{checkpoint.name} is damaged: {key} must be a matrix; its shape is {shape}; get it anew")
    return config.with_projection_width(shape[1])


def _opened(loras: tuple[tuple[FileId, float], ...]) -> list[tuple[Lora, float]]:
    return [(Lora.open(file.path), strength) for file, strength in loras]


@lru_cache(maxsize=8)
def _shapes(network: Callable[[Any], nn.Module], config: Any) -> Mapping[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in on_meta(lambda: network(config)).state_dict().items()}
