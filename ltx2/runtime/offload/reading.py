"""Blocks from files: plain reads, so that a file that vanishes or is cut off is an error and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from pathlib import Path

from torch import Tensor

from ...errors import ModelFileError
from .layout import BlockLayout, Piece
from .mapped import Extent

_CHUNK = 16 * 2**20  # bytes between two looks at whether to go on
_CURE = "put it back, or choose another placement ('resident' and 'streamed from RAM' read it once)"


class Reader:
    """Reads the bytes of blocks. A context manager: files are open no longer than it.

    `check` is called before each 16 MiB, and ends the reading by raising.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._files: dict[Path, FileIO] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._files.values():
            stream.close()
        self._files.clear()

    def fill(self, layout: BlockLayout, buffer: Tensor) -> None:
        """Bring everything of a block into `buffer` (bytes, in RAM).

        Raises:
            ModelFileError: a file is gone, has changed, was cut off or cannot be read; names it.
        """
        for piece in layout.pieces:
            self._check()
            if piece.extent is None:
                piece.arrived(buffer).copy_(piece.home)
            else:
                self._read(piece, piece.extent, buffer)

    def _read(self, piece: Piece, extent: Extent, buffer: Tensor) -> None:
        view = memoryview(buffer.numpy())[piece.start : piece.start + piece.home.nbytes]
        try:
            stream = self._open(extent)
            stream.seek(extent.offset)
            done = 0
            while done < len(view):
                self._check()
                count = stream.readinto(view[done : done + _CHUNK])
                if not count:
                    raise _changed(extent, f"it ends at {extent.offset + done:,}")
                done += count
        except FileNotFoundError as error:
            raise _changed(extent, "it is gone") from error
        except OSError as error:
            raise _changed(extent, f"it cannot be read ({error.strerror or error})") from error

    def _open(self, extent: Extent) -> FileIO:
        """The file of `extent`, whose size is looked at for each of its tensors."""
        if extent.file not in self._files:
            check_unchanged(extent)
            self._files[extent.file] = FileIO(extent.file)
        stream = self._files[extent.file]
        _check_size(extent, stream.seek(0, 2))
        return stream


def check_unchanged(extent: Extent) -> None:
    """Raise ModelFileError where the file of `extent` is not what it was when it was found."""
    try:
        stat = extent.file.stat()
    except FileNotFoundError as error:
        raise _changed(extent, "it is gone") from error
    except OSError as error:
        raise _changed(extent, f"it cannot be read ({error.strerror or error})") from error
    _check_size(extent, stat.st_size)
    if stat.st_mtime_ns != extent.modified:
        raise _changed(extent, "it has been written to")


def _check_size(extent: Extent, size: int) -> None:
    if size != extent.size:
        raise _changed(extent, f"it holds {size:,}")


def _changed(extent: Extent, got: str) -> ModelFileError:
    return ModelFileError(
        f"{extent.file.name} must stay as it is while blocks are streamed from it ({extent.size:,} bytes); {got} "
        f"({extent.file}): {_CURE}"
    )
