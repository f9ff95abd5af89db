"""In words: which weights of a model a LoRA changes, how strongly, and what of it is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .lora import Lora, Pair
from .lora_metadata import metadata_in_words
from .lora_use import AUDIO, CROSS, SHARED, VIDEO, LoraUse, modality_of

Shapes = Mapping[str, tuple[int, ...]]
_MODALITIES = (VIDEO, AUDIO, CROSS, SHARED)
_WORDS = {"merge": "merged into the weights", "runtime": "computed beside the weights"}


def report(
    lora: Lora, use: LoraUse, transformer: Shapes, text: Shapes | None, packed: frozenset[str] = frozenset()
) -> str:
    """Some lines on what a LoRA used so changes of a transformer, and of text connectors (None: there are none).

    `packed` are the weights of the transformer that nothing can be merged into.

    Raises:
        ModelFileError: its metadata is malformed.
    """
    name = lora.checkpoint.name
    lines = [f"{name}: {_rank(lora)}, strength {use.strength:g}, {_WORDS[use.mode]}"]
    lines += _part(lora, use, "transformer", lora.transformer, transformer)
    if use.mode == "merge" and (beside := [n for n in lora.fitting(lora.transformer, transformer) if n in packed]):
        lines.append(f"transformer: {_number(len(beside), 'change')} beside weights that are packed, not merged")
    if lora.text and text is not None:
        lines += _part(lora, use, "text connectors", lora.text, text)
    elif lora.text:
        lines.append(f"text connectors: {_number(len(lora.text), 'weight')} left out, for no text encoder is connected")
    if lora.leftover:
        lines.append(f"not known: {_number(len(lora.leftover), 'key')}, such as {lora.leftover[0]}")
    return "\n".join([*lines, *metadata_in_words(lora.checkpoint.metadata, name)])


def _rank(lora: Lora) -> str:
    pairs = [*lora.transformer.values(), *lora.text.values()]
    ranks = sorted({lora.rank(pair) for pair in pairs})
    words = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
    with_alpha = [pair for pair in pairs if pair.alpha is not None]
    if not with_alpha:
        return f"{words}, no alpha"
    alphas = sorted({float(lora.checkpoint.read(pair.alpha)) for pair in with_alpha if pair.alpha})
    values = f"{alphas[0]:g}" if len(alphas) == 1 else f"{alphas[0]:g} to {alphas[-1]:g}"
    some = "" if len(with_alpha) == len(pairs) else f" on {len(with_alpha)} of {len(pairs)} weights"
    return f"{words}, alpha {values}{some}"


def _part(lora: Lora, use: LoraUse, what: str, pairs: Mapping[str, Pair], shapes: Shapes) -> list[str]:
    fitting = lora.fitting(pairs, shapes)
    changed = [name for name in fitting if use.scale(name)]
    lines = [f"{what}: {_counted(changed, use)}" if changed else f"{what}: nothing is changed"]
    if len(changed) < len(fitting):
        left_out = [name for name in fitting if not use.scale(name)]
        lines.append(f"{what}: left out by {_reasons(use)}: {_counted(left_out)}")
    if len(fitting) < len(pairs):
        lines.append(f"{what}: {_number(len(pairs) - len(fitting), 'weight')} of another shape or name left out")
    return lines


def _counted(names: list[str], use: LoraUse | None = None) -> str:
    """ "40 weights (video 20 at 1, audio 20 at 0.5)"."""
    counts = Counter(modality_of(name) for name in names)
    scales = {modality_of(name): use.scale(name) for name in names} if use else {}
    parts = [
        f"{modality} {counts[modality]}" + (f" at {scales[modality]:g}" if use else "")
        for modality in _MODALITIES
        if counts[modality]
    ]
    return f"{_number(len(names), 'weight')} ({', '.join(parts)})"


def _reasons(use: LoraUse) -> str:
    if not use.strength:
        return "strength 0"
    factors = {VIDEO: use.video, AUDIO: use.audio, CROSS: use.cross}
    reasons = [f"{modality} strength 0" for modality, factor in factors.items() if not factor]
    if use.blocks is not None:
        reasons.append(f"the range of blocks {use.blocks[0]} to {use.blocks[1]}, outside of which nothing changes")
    return " and ".join(reasons)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
