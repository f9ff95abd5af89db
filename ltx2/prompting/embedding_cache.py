"""Contexts of prompts kept on disk, so that a prompt that was encoded before needs no text encoder.

A file holds the two contexts and a digest of them; its name is a hash of everything that they depend on. The prompt
itself is not stored.

Shapes: S slots, V/A width of the video/audio context.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..media.partial_file import partial_file
from ..packages import safetensors, safetensors_torch
from ..recipe import FileId, TextEncoderRecipe

logger = logging.getLogger("ltx2")
MAX_ENTRIES = 256
MAX_BYTES = 2**30
#: Counts what changes the contexts of a prompt, or the files, without a change of the recipe.
_FORMAT = 1
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")

Contexts = tuple[Tensor, Tensor]


def key_of(recipe: TextEncoderRecipe, prompt: str, device: torch.device, dtype: torch.dtype) -> str:
    """The hash (64 hexadecimal digits) of all that the contexts of `prompt` depend on.

    Which files the encoder has and how they were when they were chosen, its LoRAs with their strengths, the kind of
    device, the dtype, and the prompt without the white space around it, which the tokenizer drops.
    """
    encoder = asdict(recipe.without_lease())
    return hashlib.sha256(repr((_FORMAT, encoder, device.type, dtype, prompt.strip())).encode()).hexdigest()


def files_are_as_chosen(recipe: TextEncoderRecipe) -> bool:
    """Whether a network that is built now is the one that `key_of` names: no file has changed since."""
    files = (recipe.file, recipe.checkpoint, *(entry.file for entry in recipe.loras))
    return all(FileId.of(file.path) == file for file in files)


class EmbeddingCache:
    """The contexts in one folder. Beyond `max_entries` or `max_bytes` those that were not used for longest go."""

    def __init__(self, folder: Path, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def contexts(
        self, key: str, compute: Callable[[], Contexts], may_keep: Callable[[], bool] = lambda: True
    ) -> Contexts:
        """The video context (1, S, V) and audio context (1, S, A) of `key`, on the CPU: kept ones, or computed.

        A file that is damaged is computed anew, and one that cannot be written is left out, both with a warning; so is
        what `may_keep`, asked after computing, says is not what the key names.
        """
        if (kept := self._read(key)) is not None:
            return kept
        video, audio = (context.cpu().contiguous() for context in compute())
        if may_keep():
            self._write(key, video, audio)
        else:
            logger.warning("the text encoder's files have changed since they were loaded; the prompt is not kept")
        return video, audio

    def _read(self, key: str) -> Contexts | None:
        file = self._file(key)
        try:
            tensors = safetensors_torch.load(file.read_bytes())
            video, audio = tensors["video"], tensors["audio"]
            if not torch.equal(tensors["digest"], _digest(key, video, audio)):
                raise ValueError("its content is not what was written")
        except FileNotFoundError:
            return None
        except (OSError, safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
            logger.warning("the kept prompt %s cannot be used (%s); the prompt is encoded again", file, error)
            return None
        # A folder that is only read from has no order of use, which matters only where files are written.
        with contextlib.suppress(OSError):
            os.utime(file)
        return video, audio

    def _write(self, key: str, video: Tensor, audio: Tensor) -> None:
        tensors = {"video": video, "audio": audio, "digest": _digest(key, video, audio)}
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with partial_file(self._file(key)) as temporary:
                safetensors_torch.save_file(tensors, temporary)
            self._make_room()
        except (OSError, safetensors.SafetensorError, LTX2Error) as error:
            logger.warning("the encoded prompt cannot be kept in %s (%s)", self.folder, error)

    def _make_room(self) -> None:
        """Remove the files that were not used for longest; the newest stays, however large it is."""
        files = [file for file in self.folder.iterdir() if _NAME.fullmatch(file.name)]
        stats = sorted(((file.stat(), file) for file in files), key=lambda one: one[0].st_mtime_ns, reverse=True)
        total = 0
        for number, (stat, file) in enumerate(stats):
            total += stat.st_size
            if number and (number >= self._max_entries or total > self._max_bytes):
                file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _digest(key: str, video: Tensor, audio: Tensor) -> Tensor:
    """SHA-256 of the contexts and of the key that they belong to, as 32 bytes."""
    digest = hashlib.sha256(key.encode())
    for context in (video, audio):
        digest.update(repr((context.dtype, tuple(context.shape))).encode())
        digest.update(context.view(torch.uint8).numpy())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
