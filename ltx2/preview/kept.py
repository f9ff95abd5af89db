"""Fitted colours kept on disk for each VAE file, so that no VAE is decoded with for them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..kept import KeptTensors, key_of
from ..recipe import FileId
from .colours import Colours

MAX_ENTRIES = 64
MAX_BYTES = 2**20
#: Counts what changes the fit, or the files, without a change of the VAE.
_FORMAT = 2


def kept_colours(folder: Path, file: FileId, compute: Callable[[], Colours]) -> Colours:
    """Those of the VAE in `file`: kept ones, or computed."""
    kept = KeptTensors(folder, "colours of previews", MAX_ENTRIES, MAX_BYTES)
    tensors = kept.tensors(key_of(_FORMAT, asdict(file)), lambda: vars(compute()))
    return Colours(**tensors)
