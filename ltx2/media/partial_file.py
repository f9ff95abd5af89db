"""Files that appear at their name only when they are complete, and errors of writing in words that help."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LTX2Error
from ..packages import av

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; it takes the name `path` when the block ends well.

    After any exception, Ctrl-C included, the temporary file is removed and whatever was at `path` stays as it was.
    The temporary name is short (a legal `path` may have no room for a suffix) and in the same folder, as a rename
    is atomic within a file system only.

    Raises: LTX2Error where the folder does not exist or the rename is refused.
    """
    if not path.parent.is_dir():
        raise LTX2Error(f"the folder of an output file must exist; got {path}; create {path.parent} first")
    temporary = path.with_name(f".ltx2-{secrets.token_hex(6)}.part")
    try:
        yield temporary
        with explained_errors(path, temporary):
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def explained_errors(path: Path, temporary: Path) -> Iterator[None]:
    """Turn the errors of writing `temporary`, the file to become `path`, into LTX2Error.

    Wraps calls of the muxer only, never a caller's block: an OSError of a decoder is none of ours.
    """
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        raise LTX2Error(_explanation(path, written, error)) from error


def require_size(path: Path, temporary: Path, least: int) -> None:
    """Check that the finished `temporary` holds the `least` bytes that were handed to the muxer.

    FFmpeg drops some errors of its last flushes; a file cut there would look finished.
    """
    size = temporary.stat().st_size
    if size < least:
        raise LTX2Error(_explanation(path, size, OSError(errno.ENOSPC, f"{size} of {least} bytes arrived")))


def _explanation(path: Path, written: int, error: av.FFmpegError | OSError) -> str:
    size = f"{written / 1e6:.1f} MB"
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        free = shutil.disk_usage(path.parent).free / 1e6
        return (
            f"the disk must have room for the file; writing {path} stopped after {size} ({reason}), with "
            f"{free:.0f} MB free in {path.parent}; make room or raise the limit on file size there, "
            f"save to another folder, or make it smaller (a video: raise crf)"
        )
    return (
        f"the file must be writable; writing {path} stopped after {size} ({reason}); "
        f"check the permissions of {path.parent}, or save to another folder"
    )
