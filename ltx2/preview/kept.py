"""Fitted colours kept on disk, one small file for each VAE file, so that no VAE is decoded with for them again."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..errors import LTX2Error
from ..media.partial_file import partial_file
from ..packages import safetensors, safetensors_torch
from ..recipe import FileId
from .colours import Colours

logger = logging.getLogger("ltx2")
MAX_ENTRIES = 64
#: Counts what changes the fit without a change of the VAE.
_FORMAT = 1


class KeptColours:
    """The colours of VAE files in one folder. Beyond MAX_ENTRIES those that were not used for longest go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def colours(self, file: FileId, compute: Callable[[], Colours]) -> Colours:
        """Those of the VAE in `file`: kept ones, or computed.

        A file that is damaged is computed anew, and one that cannot be written is left out, both with a warning.
        """
        path = self.folder / f"{_key_of(file)}.safetensors"
        if (kept := _read(path)) is None:
            kept = compute()
            self._write(path, kept)
        return kept

    def _write(self, path: Path, colours: Colours) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with partial_file(path) as temporary:
                safetensors_torch.save_file({"matrix": colours.matrix, "bias": colours.bias}, temporary)
            files = sorted(self.folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
            for file in files[MAX_ENTRIES:]:
                file.unlink(missing_ok=True)
        except (OSError, safetensors.SafetensorError, LTX2Error) as error:
            logger.warning("the colours of previews cannot be kept in %s (%s)", self.folder, error)


def _key_of(file: FileId) -> str:
    return hashlib.sha256(repr((_FORMAT, asdict(file))).encode()).hexdigest()


def _read(path: Path) -> Colours | None:
    try:
        tensors = safetensors_torch.load(path.read_bytes())
        matrix, bias = tensors["matrix"], tensors["bias"]
        if matrix.ndim != 2 or matrix.shape[0] != 3 or bias.shape != (3,):
            raise ValueError("its tensors have other shapes")
    except FileNotFoundError:
        return None
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        logger.warning("the kept colours %s cannot be used (%s); they are computed again", path, error)
        return None
    # A folder that is only read from has no order of use, which matters only where files are written.
    with contextlib.suppress(OSError):
        os.utime(path)
    return Colours(matrix, bias)
