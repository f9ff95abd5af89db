"""Which file a memory-mapped tensor lies in, and where: so that it can be read without the map.

A read that fails is an error; touching the map of a file that was cut off ends the process.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

_MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class Extent:
    """Bytes of a file, which had this size and modification time when they were found."""

    file: Path
    offset: int
    size: int
    modified: int


class MappedFiles:
    """The files that this process has mapped at this moment. None are known where the system does not tell (Windows,
    macOS)."""

    def __init__(self) -> None:
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if _MAPS.exists() else []
        self._regions = sorted(found for line in lines if (found := _region(line)))
        self._starts = [start for start, _, _, _ in self._regions]
        self._stats: dict[str, tuple[int, int] | None] = {}

    def find(self, tensor: Tensor) -> Extent | None:
        """Where the bytes of `tensor` lie; None where they are no contiguous part of a file."""
        if tensor.device.type != "cpu" or not tensor.is_contiguous() or not tensor.nbytes:
            return None
        start = tensor.data_ptr()
        number = bisect_right(self._starts, start) - 1
        if number < 0:
            return None
        first, last, offset, path = self._regions[number]
        if start + tensor.nbytes > last or (stat := self._stat(path)) is None:
            return None
        return Extent(Path(path), start - first + offset, *stat)

    def _stat(self, path: str) -> tuple[int, int] | None:
        if path not in self._stats:
            file = Path(path)
            found = file.stat() if file.is_file() else None
            self._stats[path] = None if found is None else (found.st_size, found.st_mtime_ns)
        return self._stats[path]


def _region(line: str) -> tuple[int, int, int, str] | None:
    """(first address, address behind the last, offset in the file, path) of a line that tells of a file."""
    fields = line.split(maxsplit=5)
    if len(fields) < 6 or not fields[5].startswith("/"):
        return None
    first, last = (int(address, 16) for address in fields[0].split("-"))
    return first, last, int(fields[2], 16), fields[5]
