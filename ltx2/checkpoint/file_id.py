"""Which file it is, and in which state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileId:
    """A file or folder as it was when it was chosen: a changed file makes another recipe."""

    path: Path
    stamp: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, path: str | Path) -> FileId:
        path = Path(path).resolve()
        files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
        stats = [(file.name, file.stat()) for file in files if file.exists()]
        return cls(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
