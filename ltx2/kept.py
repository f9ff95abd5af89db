"""Small results kept on disk, one safetensors file for each key, so that they are computed once.

A file holds tensors and a digest of them and of the key that they belong to; its name is the key.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .errors import LTX2Error
from .media.partial_file import partial_file
from .packages import safetensors, safetensors_torch

logger = logging.getLogger("ltx2")
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_DIGEST = "digest"


def key_of(*parts: object) -> str:
    """The hash (64 hexadecimal digits) of all that a result depends on, told apart by `repr`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class KeptTensors:
    """The results in one folder. Beyond `max_entries` or `max_bytes` those that were not used for longest go.

    Attributes:
        what: The name of a result in warnings: "prompt".
    """

    folder: Path
    what: str
    max_entries: int
    max_bytes: int

    def tensors(
        self,
        key: str,
        compute: Callable[[], Mapping[str, Tensor]],
        may_keep: Callable[[], bool] = lambda: True,
    ) -> Mapping[str, Tensor]:
        """The tensors of `key`, on the CPU: kept ones, or computed.

        A file that is damaged is computed anew, and one that cannot be written is left out, both with a warning; so is
        what `may_keep`, asked after computing, refuses.
        """
        if (kept := self._read(key)) is not None:
            return kept
        computed = {name: tensor.cpu().contiguous() for name, tensor in compute().items()}
        if may_keep():
            self._write(key, computed)
        return computed

    def _read(self, key: str) -> Mapping[str, Tensor] | None:
        file = self._file(key)
        try:
            tensors = safetensors_torch.load(file.read_bytes())
            if not torch.equal(tensors.pop(_DIGEST), _digest(key, tensors)):
                raise ValueError("its content is not what was written")
        except FileNotFoundError:
            return None
        except (OSError, safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
            logger.warning("the kept %s %s cannot be used (%s): made anew", self.what, file, error)
            return None
        # A folder that is only read from has no order of use, which matters only where files are written.
        with contextlib.suppress(OSError):
            os.utime(file)
        return tensors

    def _write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with partial_file(self._file(key)) as temporary:
                safetensors_torch.save_file({**tensors, _DIGEST: _digest(key, tensors)}, temporary)
            self._make_room()
        except (OSError, safetensors.SafetensorError, LTX2Error) as error:
            logger.warning("the %s cannot be kept in %s (%s)", self.what, self.folder, error)

    def _make_room(self) -> None:
        """Remove the files that were not used for longest; the newest stays, however large it is."""
        files = [file for file in self.folder.iterdir() if _NAME.fullmatch(file.name)]
        stats = sorted(((file.stat(), file) for file in files), key=lambda one: one[0].st_mtime_ns, reverse=True)
        total = 0
        for number, (stat, file) in enumerate(stats):
            total += stat.st_size
            if number and (number >= self.max_entries or total > self.max_bytes):
                file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _digest(key: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """SHA-256 of the tensors and of the key that they belong to, as 32 bytes."""
    digest = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.view(torch.uint8).numpy())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
