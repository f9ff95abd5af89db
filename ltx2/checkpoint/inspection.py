"""What a model file is, in words for a person: release, components, precision, metadata, and what it lacks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..config.section import parse
from ..config.upsampler import UpsamplerConfig
from ..errors import ModelFileError
from .gemma import read_config
from .keys import AUDIO_VAE, GEMMA, TEXT, TRANSFORMER, UPSAMPLER, VIDEO_VAE, VOCODER, NameTable
from .lora import Lora
from .reader import Checkpoint, TensorEntry
from .release import ANY, contents, holds, is_lora, release_of, section_of
from .released_files import CHECKPOINTS, GEMMA_REPOSITORY, LORAS, RELEASED_FILES, TEXT_ENCODERS, UPSCALERS
from .weights import is_beside

_OF_A_CHECKPOINT = (TRANSFORMER, TEXT, VIDEO_VAE, AUDIO_VAE, VOCODER)
_TABLES = (*_OF_A_CHECKPOINT, UPSAMPLER, GEMMA)
_PRECISIONS = {
    **{"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8 (e4m3)", "F8_E5M2": "fp8 (e5m2)"},
    **{"I8": "int8", "U8": "nvfp4"},
}
#: Two numbers in each.
_PAIRS = "U8"
_LONGEST_VALUE = 60
#: What our names of parameters belong to, by the first piece that is found in them.
_PARTS = (
    ("exchange", "audio-video exchange"),
    ("audio.", "audio"),
    ("video.", "video"),
)


def describe(path: str | Path) -> str:
    """Some lines about a safetensors or GGUF file, or about a text encoder's folder.

    Raises:
        ModelFileError: it is not there, or no such file; the message says what it is.
    """
    checkpoint = Checkpoint.open(path)
    if is_lora(checkpoint.entries):
        facts = _lora_facts(checkpoint)
    else:
        facts = _model_facts(checkpoint)
    size = sum(file.stat().st_size for file in checkpoint.files)
    rows = [("size", f"{_bytes(size)}, {len(checkpoint.entries)} tensors"), *facts, *_metadata(checkpoint)]
    width = max(len(name) for name, _ in rows)
    return "\n".join([str(path), *(f"  {name:{width}}  {text}".rstrip() for name, text in rows)])


def _model_facts(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    found = [table for table in _TABLES if holds(checkpoint, table)]
    if not found:
        return [("holds", contents(checkpoint.entries))]
    release = _release(checkpoint, found)
    rows = [("release", release)] if release else []
    for table in found:
        keys = table.select(checkpoint.entries)[0].values()
        rows.append((table.component, _parameters(checkpoint.entries[key] for key in keys if not is_beside(key))))
    if UPSAMPLER in found:
        rows.append(("kind", _upsampler_kind(checkpoint)))
    if GEMMA in found:
        rows.append(("kind", _gemma_kind(checkpoint)))
    return [*rows, *_missing(release, found)]


def _release(checkpoint: Checkpoint, found: list[NameTable]) -> str:
    """ "2.0", "2.3", "2.5", "any", or "unknown"; nothing for a text encoder, which belongs to none."""
    releases = set()
    for table in found:
        if table is not GEMMA:
            try:
                releases.add(release_of(checkpoint, table))
            except ModelFileError:
                releases.add("unknown")
    # What tells nothing counts only where nothing else tells.
    return ", ".join(sorted(releases - {ANY, "unknown"}) or sorted(releases))


def _parameters(entries: Iterable[TensorEntry]) -> str:
    elements: Counter[str] = Counter()
    for entry in entries:
        elements[_PRECISIONS.get(entry.dtype, entry.dtype)] += entry.num_elements * (1 + (entry.dtype == _PAIRS))
    precisions = ", ".join(precision for precision, _ in elements.most_common())
    return f"{_count(elements.total())} parameters, {precisions}"


def _upsampler_kind(checkpoint: Checkpoint) -> str:
    config = parse(UpsamplerConfig, section_of(checkpoint, UPSAMPLER), "config", checkpoint.name)
    what = []
    if config.spatial_upsample:
        how = "rational resampler" if config.rational_resampler else "pixel shuffle"
        what.append(f"height and width x{config.spatial_scale:g} ({how})")
    if config.temporal_upsample:
        what.append("frames x2")
    return ", ".join(what)


def _gemma_kind(checkpoint: Checkpoint) -> str:
    try:
        config = read_config(checkpoint)
    except ModelFileError as error:
        return f"not usable: {error}"
    return f"Gemma 3, hidden size {config.hidden_size}, {config.num_layers} layers, {config.vocab_size} tokens"


def _missing(release: str, found: list[NameTable]) -> list[tuple[str, str]]:
    """What else a two-stage run needs, by its released names; both releases' where the file tells neither."""
    rows: list[tuple[str, str]] = []
    lacking = [table.component for table in _OF_A_CHECKPOINT if table not in found]
    known = {release: RELEASED_FILES[release]} if release in RELEASED_FILES else RELEASED_FILES
    if release and release not in (*RELEASED_FILES, ANY, "unknown"):
        return [("also needed", f"the other files of LTX-{release}")]
    if lacking:
        names = " or ".join(f"{CHECKPOINTS}/{files.dev}" for files in known.values())
        rows.append(("also needed", f"{names} ({', '.join(lacking)})"))
    if GEMMA not in found:
        rows.append(("also needed", f"{TEXT_ENCODERS}/{GEMMA_REPOSITORY.rpartition('/')[2]} (the whole folder)"))
    if UPSAMPLER not in found:
        names = " or ".join(f"{UPSCALERS}/{files.spatial_upsampler}" for files in known.values())
        rows.append(("also needed", f"{names} (for a second stage)"))
    if TRANSFORMER in found:
        names = " or ".join(f"{LORAS}/{files.distilled_lora}" for files in known.values())
        rows.append(("also needed", f"{names} (for the second stage of a dev model)"))
    return rows


def _lora_facts(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    rows = [("holds", "a LoRA"), ("weights", _parameters(checkpoint.entries.values()))]
    try:
        lora = Lora(checkpoint)
    except ModelFileError as error:
        return [*rows, ("not usable", str(error))]
    pairs = [*lora.transformer.values(), *lora.text.values()]
    ranks = sorted({checkpoint.entries[pair.down].shape[0] for pair in pairs})
    alphas = sum(pair.alpha is not None for pair in pairs)
    parts = Counter(_part(name) for name in lora.transformer) + Counter({"text connectors": len(lora.text)})
    rows.append(("rank", ", ".join(map(str, ranks)) + (f", {alphas} of {len(pairs)} with alpha" if alphas else "")))
    rows.append(("changes", f"{len(pairs)} weights: " + ", ".join(f"{part} {n}" for part, n in parts.most_common())))
    if lora.leftover:
        rows.append(("not known", f"{len(lora.leftover)} tensors, such as {lora.leftover[0]}"))
    return rows


def _part(name: str) -> str:
    return next((part for piece, part in _PARTS if piece in name), "other")


def _metadata(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    if not checkpoint.metadata:
        return [("metadata", "none (stripped)")]
    return [("metadata", f"{key} = {_short(text)}") for key, text in sorted(checkpoint.metadata.items())]


def _short(text: str) -> str:
    """Small values as they are; of JSON objects the keys."""
    if len(text) <= _LONGEST_VALUE:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, Mapping):
        return f"{{{', '.join(value)}}}"
    return f"{text[:_LONGEST_VALUE]}... ({len(text)} characters)"


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _count(number: int) -> str:
    for limit, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= limit:
            return f"{number / limit:.2f} {unit}"
    return str(number)
