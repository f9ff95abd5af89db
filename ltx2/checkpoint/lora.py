"""LoRA files: which weights of a network they change, and by what."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import ModelFileError
from .keys import TEXT, TRANSFORMER, NameTable
from .lora_use import LoraUse
from .reader import Checkpoint
from .release import contents, is_lora

logger = logging.getLogger("ltx2")

_PART = re.compile(r"^(?P<module>.+?)\.(?P<part>lora_[AB]|lora_down|lora_up)(\.default)?\.weight$")
_ALPHA = re.compile(r"^(?P<module>.+?)\.alpha$")
_MAGNITUDE = re.compile(r"\.(dora_scale|lora_magnitude_vector)(\.|$)")
_DOWN = {"lora_A", "lora_down"}
_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "")


@dataclass(frozen=True)
class Pair:
    """The file's keys of one low-rank change: up (out, r) @ down (r, in), times alpha / r where it has an alpha."""

    down: str
    up: str
    alpha: str | None


class Lora:
    """A LoRA file: its pairs by our parameter name, for the transformer and for the text connectors.

    Raises:
        ModelFileError: it is no LoRA, or none of it fits an LTX-2 model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        if not is_lora(checkpoint.entries):
            raise ModelFileError(f"{checkpoint.name} must be a LoRA; it is {contents(checkpoint.entries)}")
        pairs, self.leftover = _pairs(checkpoint)
        self.transformer: dict[str, Pair] = {}
        self.text: dict[str, Pair] = {}
        for module, pair in pairs.items():
            if name := _ours(module, TRANSFORMER, ""):
                changes = self.transformer
            elif name := _ours(module, TEXT, "model.diffusion_model.") or TEXT.to_ours(module):
                changes = self.text
            else:
                self.leftover.append(pair.down)
                continue
            if other := changes.get(f"{name}.weight"):
                raise ModelFileError(
                    f"{checkpoint.name} is damaged: {other.down} and {pair.down} both change one weight; get the file "
                    "anew"
                )
            changes[f"{name}.weight"] = pair
        if not (self.transformer or self.text):
            raise ModelFileError(
                f"{checkpoint.name} changes nothing of an LTX-2 model: none of its {len(pairs)} weights is known "
                f"(such as {', '.join(list(pairs)[:3])}); it was made for another model"
            )

    @classmethod
    def open(cls, path: Path) -> Lora:
        return cls(Checkpoint.open(path))

    def check(self, shapes: Mapping[str, tuple[int, ...]], pairs: Mapping[str, Pair], what: str, use: LoraUse) -> None:
        """Raise ModelFileError where none of `pairs` fits parameters of these `shapes`.

        Warn where some do not, and where `use` leaves out all that do.
        """
        name = self.checkpoint.name
        fitting = self.fitting(pairs, shapes)
        if pairs and not fitting:
            raise ModelFileError(
                f"{name} fits nothing of this {what}: all of its {len(pairs)} weights are missing "
                "there or have another shape; it was made for another release"
            )
        total = len(pairs) + len(self.leftover)
        if len(fitting) < total:
            logger.warning("%s: %d of its %d weights fit this %s", name, len(fitting), total, what)
        if use.strength and not any(use.scale(ours) for ours in fitting):
            logger.warning(
                "%s changes nothing of this %s: its factors and block range leave out all %d of its weights",
                name,
                what,
                len(fitting),
            )

    def fitting(self, pairs: Mapping[str, Pair], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        """The parameters that have a change of their own shape."""
        return [name for name, pair in pairs.items() if name in shapes and self.fits(pair, shapes[name])]

    def scaled(self, pair: Pair, scale: float) -> float:
        """scale * alpha / r: what up @ down is multiplied by."""
        if pair.alpha is None:
            return scale
        return scale * float(self.checkpoint.read(pair.alpha)) / self.rank(pair)

    def delta(self, pair: Pair, scale: float, like: Tensor) -> Tensor:
        """scale * alpha / r * up @ down in the dtype of `like`, as the reference aggregates it."""
        down, up, scale = self.halves(pair, scale)
        return (up.to(like.dtype) * scale) @ down.to(like.dtype)

    def halves(self, pair: Pair, scale: float) -> tuple[Tensor, Tensor, float]:
        """(down (r, in), up (out, r), scale * alpha / r); the halves are the file's memory."""
        return self.checkpoint.read(pair.down), self.checkpoint.read(pair.up), self.scaled(pair, scale)

    def rank(self, pair: Pair) -> int:
        return self.checkpoint.entries[pair.down].shape[0]

    def fits(self, pair: Pair, shape: tuple[int, ...]) -> bool:
        """Whether the change has the `shape` of a weight."""
        entries = self.checkpoint.entries
        return (entries[pair.up].shape[0], entries[pair.down].shape[-1]) == tuple(shape)


def _pairs(checkpoint: Checkpoint) -> tuple[dict[str, Pair], list[str]]:
    """({module name: pair}, keys that are no part of one)."""
    parts: dict[str, dict[str, str]] = {}
    leftover = []
    for key in checkpoint.entries:
        if match := _PART.match(key):
            side, keys = "down" if match["part"] in _DOWN else "up", parts.setdefault(match["module"], {})
            if side in keys:
                raise ModelFileError(
                    f"{checkpoint.name} is damaged: {keys[side]} and {key} are one half of one change; get the file "
                    "anew"
                )
            keys[side] = key
        elif match := _ALPHA.match(key):
            parts.setdefault(match["module"], {})["alpha"] = key
        else:
            leftover.append(key)
    if scaled := [key for key in leftover if _MAGNITUDE.search(key)]:
        # Without its magnitudes it would change the model in another way than it was trained to.
        raise ModelFileError(
            f"{checkpoint.name} must be a plain LoRA; it is a DoRA, with magnitudes such as {scaled[0]}: use a "
            "LoRA, or have it merged into a checkpoint"
        )
    pairs = {}
    for module, keys in parts.items():
        if keys.keys() == {"alpha"}:
            leftover.append(keys["alpha"])  # a scale of nothing
        else:
            pairs[module] = _pair(checkpoint, module, keys)
    return pairs, leftover


def _pair(checkpoint: Checkpoint, module: str, keys: Mapping[str, str]) -> Pair:
    """The change of one module. Raises ModelFileError where a part is missing or has no such shape."""
    name, entries = checkpoint.name, checkpoint.entries
    if not {"down", "up"} <= keys.keys():
        raise ModelFileError(
            f"{name} is incomplete: {module} has only {', '.join(sorted(keys.values()))}; get the file anew"
        )
    for key in (keys["down"], keys["up"]):
        if len(entries[key].shape) != 2 or 0 in entries[key].shape:
            raise ModelFileError(
                f"{name} is damaged: {key} must be a matrix; its shape is {entries[key].shape}; get the file anew"
            )
    if entries[keys["down"]].shape[0] != entries[keys["up"]].shape[1]:
        raise ModelFileError(f"{name} is damaged: the two halves of {module} differ in rank; get the file anew")
    alpha = keys.get("alpha")
    if alpha is not None and entries[alpha].num_elements != 1:
        raise ModelFileError(
            f"{name} is damaged: {alpha} must be one number; its shape is {entries[alpha].shape}; get the file anew"
        )
    return Pair(keys["down"], keys["up"], alpha)


def _ours(module: str, table: NameTable, root: str) -> str | None:
    """Our name of a LoRA's module, whatever prefix it was saved with; the table's own names start with `root`."""
    for prefix in _PREFIXES:
        if module.startswith(prefix) and (name := table.to_ours(root + module[len(prefix) :])):
            return name
    return None
