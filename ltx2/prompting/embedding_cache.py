"""Contexts of prompts kept on disk, so that a prompt that was encoded before needs no text encoder.

The name of a file is a hash of everything that its contexts depend on. The prompt itself is not stored.

Shapes: S slots, V/A width of the video/audio context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import kept
from ..kept import KeptTensors
from ..recipe import FileId, TextEncoderRecipe

logger = logging.getLogger("ltx2")
MAX_ENTRIES = 256
MAX_BYTES = 2**30
#: Counts what changes the contexts of a prompt, or the files, without a change of the recipe.
_FORMAT = 2

Contexts = tuple[Tensor, Tensor]


def key_of(recipe: TextEncoderRecipe, prompt: str, device: torch.device, dtype: torch.dtype) -> str:
    """The hash (64 hexadecimal digits) of all that the contexts of `prompt` depend on.

    Which files the encoder has and how they were when they were chosen, its LoRAs with their strengths, the kind of
    device, the dtype, and the prompt without the white space around it, which the tokenizer drops.
    """
    same = replace(recipe, lease=None, placement=None)
    return kept.key_of(_FORMAT, asdict(same), device.type, dtype, prompt.strip())


def kept_contexts(folder: Path, key: str, recipe: TextEncoderRecipe, compute: Callable[[], Contexts]) -> Contexts:
    """The video context (1, S, V) and audio context (1, S, A) of `key`, on the CPU: kept ones, or computed.

    What was computed with other files than those of `recipe` is not kept.
    """

    def named() -> Mapping[str, Tensor]:
        return dict(zip(("video", "audio"), compute(), strict=True))

    def may_keep() -> bool:
        if files_are_as_chosen(recipe):
            return True
        logger.warning("the text encoder's files have changed since they were loaded; the prompt is not kept")
        return False

    tensors = KeptTensors(folder, "prompt", MAX_ENTRIES, MAX_BYTES).tensors(key, named, may_keep)
    return tensors["video"], tensors["audio"]


def files_are_as_chosen(recipe: TextEncoderRecipe) -> bool:
    """Whether a network that is built now is the one that `key_of` names: no file has changed since."""
    files = (recipe.file, recipe.checkpoint, *(entry.file for entry in recipe.loras))
    return all(FileId.of(file.path) == file for file in files)
