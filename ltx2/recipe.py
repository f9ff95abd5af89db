"""What travels on a model wire: a frozen description of a network as the user assembled it. No weights.

Recipes compare by value, so equal recipes are one network. Opening one reads headers only and audits every name and
shape, so that a bad file fails where it was chosen.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from .checkpoint.connectors import read_connectors
from .checkpoint.file_id import FileId
from .checkpoint.gemma import check_fits, load_gemma, load_tokenizer, read_config
from .checkpoint.keys import AUDIO_VAE, GEMMA, TEXT, TRANSFORMER, UPSAMPLER, VIDEO_VAE, VOCODER, NameTable
from .checkpoint.load import Check, audit, build, no_check, on_meta
from .checkpoint.lora import Lora
from .checkpoint.lora_metadata import reference_scale
from .checkpoint.lora_report import report
from .checkpoint.lora_stack import LoraStack, Restack, StackedLora, put_beside_layers
from .checkpoint.lora_use import LoraUse, block_range
from .checkpoint.reader import Checkpoint
from .checkpoint.release import release_of, section_of
from .checkpoint.weights import find_weights, packed_names
from .compilation import check_compiled, compile_blocks
from .config.audio_vae import AudioVAEConfig
from .config.section import parse
from .config.text import ConnectorsConfig
from .config.transformer import TransformerConfig
from .config.upsampler import UpsamplerConfig
from .config.video_vae import VideoVAEConfig
from .config.vocoder import VocoderConfig
from .errors import ModelFileError
from .layers.attention_backends import AUTOMATIC, use_attention
from .layers.fused import FUSED, use_operations
from .layers.operations import PLAIN
from .networks.audio_vae.model import AudioVAE
from .networks.text.connector import TextConnectors
from .networks.text.encoder import TextEncoder
from .networks.text.gemma import Gemma3
from .networks.transformer.model import Transformer
from .networks.upsampler import Upsampler
from .networks.video_vae.model import VideoVAE
from .networks.vocoder.model import Vocoder
from .placement import Placement
from .precision.choices import AS_STORED, PRECISIONS, check_precision
from .precision.summary import in_words
from .recording import check_recorded, record_calls

logger = logging.getLogger("ltx2")


class Lease:
    """Alive for as long as somebody holds a recipe of the same opened files, with whatever LoRAs.

    A cache frees the network when the last lease is gone: not when a LoRA gets another strength, for the recipe without
    it lives on.
    """

    __slots__ = ("__weakref__",)


@dataclass(frozen=True)
class LoraEntry:
    """A LoRA on a network: its file, how it is put there, and the reference that it was trained with.

    Attributes:
        reference_scale: (spatial, temporal) factor by which an IC-LoRA's reference is smaller; None where its file
            states none.
    """

    file: FileId
    use: LoraUse
    reference_scale: tuple[int, int] | None = None

    @property
    def strength(self) -> float:
        return self.use.strength

    @classmethod
    def of(cls, lora: Lora, use: LoraUse) -> LoraEntry:
        checkpoint = lora.checkpoint
        return cls(FileId.of(checkpoint.path), use, reference_scale(checkpoint.metadata, checkpoint.name))


@dataclass(frozen=True, repr=False)
class Recipe:
    """One network: its file, its config, and what was stacked onto it.

    Attributes:
        release: "2.0", "2.3", "2.5", or "any".
        loras: in the order in which they were added.
        placement: where its weights are while it computes; None leaves that to the host.
    """

    kind: ClassVar[str] = "network"

    file: FileId
    config: Any
    release: str
    loras: tuple[LoraEntry, ...] = ()
    lease: Lease | None = field(default_factory=Lease, compare=False)
    placement: Placement | None = None

    def __repr__(self) -> str:
        extra = f" + {len(self.loras)} LoRA" if self.loras else ""
        return f"<LTX-2 {self.kind} {self.file.path.name}{extra}>"

    def without_lease(self) -> Recipe:
        """An equal recipe that keeps nothing alive."""
        return replace(self, lease=None)

    def build(self, check: Check = no_check, merge_later: str = "") -> nn.Module:
        """The network, its weights mapped from the file and its LoRAs merged or beside them.

        `check` is called between two weights. Those whose names begin with `merge_later` stay as they are in the file:
        whoever streams them does the rest.
        """
        raise NotImplementedError

    @property
    def on_the_way(self) -> LoraStack:
        """What `merge_later` leaves to be done to weights."""
        return LoraStack()

    def tell(self, network: nn.Module) -> None:
        """Log which precisions the network has, now that all is done to its weights."""

    def restack(self, built: Recipe) -> Restack | None:
        """What makes this recipe's network of that of `built`; None where the two differ in more than their LoRAs."""
        # Field by field, for LoRAs of the one may be refused on the other.
        counted = [each.name for each in fields(self) if each.compare and each.name != "loras"]
        if type(built) is not type(self) or any(getattr(built, name) != getattr(self, name) for name in counted):
            return None
        # Of a LoRA file that has changed since, nobody knows any more what it did.
        if any(FileId.of(entry.file.path) != entry.file for entry in built.loras):
            return None
        return self._restack(built)

    def _restack(self, built: Any) -> Restack | None:
        return None


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

    def build(self, check: Check = no_check, merge_later: str = "") -> nn.Module:
        stack, source = self._stack(), Checkpoint.open(self.file.path)
        transform = stack.leaving(merge_later) if merge_later else stack
        network = build(lambda: type(self).network(self.config), self.table, source, transform, check)
        self._finish(network)
        put_beside_layers(network, stack)
        if not merge_later:
            self.tell(network)
        return network

    def _finish(self, network: nn.Module) -> None:
        """What is done to the network when its weights are there, and its LoRAs are merged."""

    def _restack(self, built: _SingleNetwork) -> Restack:
        return Restack(built._stack(), self._stack(), self.table, lambda: Checkpoint.open(self.file.path))

    @property
    def on_the_way(self) -> LoraStack:
        return self._stack()

    def _stack(self) -> LoraStack:
        return _stack(self.loras, "transformer", self.file, self.table)


@dataclass(frozen=True, repr=False)
class TransformerRecipe(_SingleNetwork):
    kind = "transformer"
    table = TRANSFORMER
    network = Transformer
    config_class = TransformerConfig

    precision: str = AS_STORED
    attention: str = AUTOMATIC
    is_compiled: bool = False
    is_fused: bool = False
    is_recorded: bool = False

    def __post_init__(self) -> None:
        if self.is_recorded:
            check_recorded(self.placement, self.attention)
        if self.is_compiled:
            modes = [entry.use.mode for entry in self.loras]
            check_compiled(self.placement, self.precision, modes, is_fused=self.is_fused)

    @property
    def reference_scale(self) -> tuple[int, int] | None:
        """(spatial, temporal) factor of the reference, of the last LoRA that states one; None where none does."""
        return next((entry.reference_scale for entry in reversed(self.loras) if entry.reference_scale), None)

    def with_lora(self, path: str | Path, strength: float, **options: Any) -> TransformerRecipe:
        """This transformer with a LoRA on top; `options` are LoraUse's other fields.

        Raises:
            ModelFileError: nothing of it fits, or its metadata is malformed.
            LTX2Error: there are no such blocks.
        """
        lora, use = Lora.open(Path(path)), self._use(strength, options)
        if not lora.transformer:
            return self
        lora.check(self.shapes(), lora.transformer, self.kind, use)
        return replace(self, loras=(*self.loras, LoraEntry.of(lora, use)))

    def with_precision(self, choice: str) -> TransformerRecipe:
        """This transformer in one of `precision.choices.PRECISIONS`.

        Raises:
            LTX2Error: there is no such choice, or its file cannot be run so; says why.
        """
        source = Checkpoint.open(self.file.path)
        weights = find_weights(self.shapes(), self.table, source)
        kinds = Counter(
            weight.kept.format if weight.kept else source.stored_as(weight.key)
            for name, weight in weights.items()
            if len(self.shapes()[name]) == 2 and name.endswith(".weight")
        )
        check_precision(choice, kinds, source.name)
        return replace(self, precision=choice)

    def _finish(self, network: nn.Module) -> None:
        PRECISIONS[self.precision].finish(network)
        use_attention(network, self.attention)
        use_operations(network, FUSED if self.is_fused else PLAIN)
        if self.is_compiled:
            compile_blocks(network)
        if self.is_recorded:
            record_calls(network)

    def tell(self, network: nn.Module) -> None:
        logger.info("%s: %s", self.file.path.name, in_words(network))

    def _stack(self) -> LoraStack:
        return replace(super()._stack(), then=PRECISIONS[self.precision].transform)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every weight by our name."""
        return _shapes(Transformer, self.config)

    def _use(self, strength: float, options: Mapping[str, Any]) -> LoraUse:
        use = LoraUse(strength, **options)
        return use if use.blocks is None else replace(use, blocks=block_range(*use.blocks, self.config.num_layers))


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

    def with_lora(self, path: str | Path, strength: float, **options: Any) -> TextEncoderRecipe:
        """These connectors with a LoRA on top; Gemma itself is never changed. `options` are LoraUse's other fields."""
        lora, use = Lora.open(Path(path)), LoraUse(strength, **options)
        if not lora.text:
            return self
        lora.check(self.shapes(), lora.text, "text connectors", use)
        return replace(self, loras=(*self.loras, LoraEntry.of(lora, use)))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every weight of the connectors by our name."""
        return _shapes(TextConnectors, self.connectors)

    def build(self, check: Check = no_check, merge_later: str = "") -> TextEncoder:
        # LoRAs change the connectors alone, a tenth of it: they are merged at once, and nothing is left for later.
        text, stack = Checkpoint.open(self.file.path), self._stack()
        source = Checkpoint.open(self.checkpoint.path)
        connectors = build(lambda: TextConnectors(self.connectors), TEXT, source, stack, check)
        put_beside_layers(connectors, stack)
        encoder = TextEncoder(load_tokenizer(text), load_gemma(text, self.config, check), connectors)
        logger.info("%s: %s", self.file.path.name, in_words(encoder.gemma))
        return encoder

    def _restack(self, built: TextEncoderRecipe) -> Restack:
        old, new, source = built._stack(), self._stack(), self.checkpoint.path
        return Restack(old, new, TEXT, lambda: Checkpoint.open(source), lambda encoder: encoder.connectors)  # type: ignore[return-value]

    def _stack(self) -> LoraStack:
        return _stack(self.loras, "text", self.checkpoint, TEXT)


def with_lora(
    transformer: TransformerRecipe,
    text_encoder: TextEncoderRecipe | None,
    path: str | Path,
    strength: float,
    **options: Any,
) -> tuple[TransformerRecipe, TextEncoderRecipe | None, str]:
    """Both with a LoRA on top, as far as it changes them, and in words what it changes.

    Raises:
        ModelFileError: it fits neither, or changes only text connectors and there are none to change.
    """
    lora, use = Lora.open(Path(path)), transformer._use(strength, options)
    if text_encoder is None and lora.text:
        cure = "connect the text encoder to the LTX-2 LoRA node too"
        name = lora.checkpoint.name
        if not lora.transformer:
            raise ModelFileError(f"{name} changes only the text connectors: {cure}")
        logger.warning("%s: its %d changes of the text connectors are left out: %s", name, len(lora.text), cure)
    options = {**options, "blocks": use.blocks}
    packed = _packed(transformer.file, TRANSFORMER)
    words = report(lora, use, transformer.shapes(), text_encoder and text_encoder.shapes(), packed)
    text_encoder = text_encoder and text_encoder.with_lora(path, strength, **options)
    return transformer.with_lora(path, strength, **options), text_encoder, words


def _stack(entries: tuple[LoraEntry, ...], kind: str, base: FileId, table: NameTable) -> LoraStack:
    """The stack for the "transformer" or the "text" part of a model, on the weights of `base`."""
    if not entries:
        return LoraStack()
    opened = [(entry, Lora.open(entry.file.path)) for entry in entries]
    stacked = tuple(StackedLora(entry.file, lora, getattr(lora, kind), entry.use) for entry, lora in opened)
    return LoraStack(stacked, _packed(base, table))


@lru_cache(maxsize=8)
def _packed(file: FileId, table: NameTable) -> frozenset[str]:
    return packed_names(table, Checkpoint.open(file.path))


@lru_cache(maxsize=8)
def _shapes(network: Callable[[Any], nn.Module], config: Any) -> Mapping[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in on_meta(lambda: network(config)).state_dict().items()}
