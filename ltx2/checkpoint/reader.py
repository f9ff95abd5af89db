"""Reading model files: headers at once, tensors lazily and memory-mapped, several shards as one.

safetensors and GGUF are read, and nothing else: a pickle, a truncated download or a web page saved under the wrong name
is recognised and refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelFileError
from ..packages import safetensors
from .gguf import SUFFIX as GGUF_SUFFIX
from .gguf import GGUFFile

_DTYPE_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}
#: safetensors' names of torch's dtypes.
DTYPE_NAMES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"},
    **{torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.bool: "BOOL"},
}
_MAX_HEADER = 100 * 2**20
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class TensorEntry:
    """A tensor as the header describes it; `dtype` is safetensors' name ("BF16", "F8_E4M3"), or GGUF's ("Q4_K")."""

    shape: tuple[int, ...]
    dtype: str
    file: Path

    @property
    def num_elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def num_bytes(self) -> int:
        return self.num_elements * _DTYPE_BYTES.get(self.dtype, 1)


class Checkpoint:
    """The tensors and metadata of one safetensors or GGUF file, or of a folder of shards.

    Opening reads headers only. `read` returns tensors that share the file's memory map: pages enter RAM as they are
    used and can always be dropped again.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path = path
        self.files = files
        self.metadata: dict[str, str] = {}
        self.entries: dict[str, TensorEntry] = {}
        self._open: dict[Path, Any] = {}
        for file in files:
            if file.suffix.lower() == GGUF_SUFFIX:
                self._open_gguf(file)
                continue
            header = read_header(file)
            self.metadata.update(header.pop("__metadata__", None) or {})
            for key, info in header.items():
                self.entries[key] = TensorEntry(tuple(info["shape"]), info["dtype"], file)

    def _open_gguf(self, file: Path) -> None:
        self._open[file] = opened = GGUFFile(file)
        self.metadata.update(opened.metadata)
        for key, tensor in opened.tensors.items():
            self.entries[key] = TensorEntry(tensor.shape, tensor.type, file)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Open a .safetensors or .gguf file, or a folder of the former (with its index, or the files in name order).

        Raises:
            ModelFileError: not there, or none of these; the message says what it is.
        """
        path = Path(path)
        return cls(path, _shards(path) if path.is_dir() else [path])

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The JSON of the metadata's `config`; empty where a repack has stripped it."""
        text = self.metadata.get("config", "{}")
        try:
            return json_object(text)
        except ValueError as error:
            raise ModelFileError(
                f"{self.name}: the metadata's config is no JSON object ({error}); get the file anew"
            ) from error

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: entry.shape for key, entry in self.entries.items()}

    def stored_as(self, key: str) -> str:
        """How a tensor is kept: safetensors' name of its dtype, or GGUF's of its blocks."""
        return self.entries[key].dtype

    def read(self, key: str) -> Tensor:
        """The memory-mapped tensor `key`, packed as the file keeps it; never written to."""
        file = self.entries[key].file
        if file not in self._open:
            self._open[file] = safetensors.safe_open(file, framework="pt", device="cpu")
        opened = self._open[file]
        return opened.read(key) if isinstance(opened, GGUFFile) else opened.get_tensor(key)


def read_header(file: Path) -> dict[str, Any]:
    """The header of a safetensors file: {key: {dtype, shape, data_offsets}, "__metadata__": {...}}.

    Raises:
        ModelFileError: it is missing, truncated or something else; names what it is and what to do.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            body = stream.read(length) if len(start) == 8 and length <= min(_MAX_HEADER, size) else b""
    except FileNotFoundError as error:
        raise ModelFileError(f"{file.name}: there is no such file ({file})") from error
    except OSError as error:
        raise ModelFileError(
            f"{file.name}: cannot be read ({error.strerror}); check the file and its permissions"
        ) from error
    if not body.lstrip().startswith(b"{"):
        raise ModelFileError(f"{file.name} must be a safetensors file; it is {_what_it_is(file, size)}")
    try:
        header = json_object(body)
        ends = [info["data_offsets"][1] for info in _checked_entries(header)]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelFileError(f"{file.name}: its safetensors header is damaged ({error}); download it again") from error
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise ModelFileError(
            f"{file.name} must hold {expected:,} bytes; it holds {size:,}: the download was cut off, get it again"
        )
    return header


def json_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object that `text` is. Raises ValueError, which says what it is instead."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"it is a {type(found).__name__}")
    return found


def _checked_entries(header: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the header says of each tensor. Raises ValueError or KeyError where that is not what the format asks for."""
    metadata = header.get("__metadata__")
    if metadata is not None and not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        raise ValueError(f"its metadata must be an object of texts; got {metadata!r:.60}")
    entries = [info for key, info in header.items() if key != "__metadata__"]
    for info in entries:
        if not all(isinstance(size, int) for size in (*info["shape"], *info["data_offsets"])):
            raise ValueError(f"{info}")
        if not isinstance(info["dtype"], str):
            raise ValueError(f"{info}")
    return entries


_MAGICS = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes: a pickle, which can run code; get the .safetensors version"),
    (b"\x80", "a pickle, which can run code; get the .safetensors version"),
    (b"GGUF", "a GGUF file; get the .safetensors version"),
    (b"version https://git-lfs", "a git-lfs pointer and not the file itself; download the file it points to"),
    (b"<", "a web page saved under this name: the download needs a log-in or an accepted licence; get it again"),
    (b"{", "a JSON text; the address of the file itself was probably not the one downloaded"),
)


def _what_it_is(file: Path, size: int) -> str:
    if size == 0:
        return "empty: the download failed, get it again"
    with file.open("rb") as stream:
        start = stream.read(64)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _MAX_HEADER:
        return "one that was cut off in its header: the download failed, get it again"
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, meaning in _MAGICS:
        if start.startswith(magic):
            return meaning
    return "something else or damaged; download it again"


def _shards(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if index.is_file():
        names = _shard_names(index)
        missing = [name for name in names if not (folder / Path(name).name).is_file()]
        if missing:
            raise ModelFileError(
                f"{folder.name}: {len(missing)} of {len(names)} shards are missing: {', '.join(missing)}; download "
                "them too"
            )
        # Only the names count: an index must not lead out of its folder.
        return [folder / Path(name).name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelFileError(f"{folder.name} must hold .safetensors files; it holds none ({folder})")
    return files


def _shard_names(index: Path) -> list[str]:
    try:
        weight_map = json_object(index.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(name, str) for name in weight_map.values()):
            raise ValueError("its weight_map must name files")
        return sorted(set(weight_map.values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelFileError(
            f"{index.parent.name}: its {index.name} is damaged ({error!r}); download it again"
        ) from error
