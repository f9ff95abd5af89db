"""The manifest of a batch: a JSON line for each change of a row, of which the last of a row counts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..ltx2.errors import LTX2Error


@dataclass(frozen=True)
class RowResult:
    """A line of the manifest.

    `key` stands for what the row computes, `row` is its place, counted from 1; `outputs` are names in the batch's
    folder.
    """

    row: int
    key: str
    status: Literal["queued", "done", "failed", "cancelled"]
    prompt_id: str | None
    overrides: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    error: str | None = None
    seconds: float | None = field(default=None, compare=False)


class Manifest:
    """A manifest file, read when it is opened and written line by line; a line is there whole or not at all.

    Raises:
        LTX2Error: the file holds something else, or cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._last: dict[str, RowResult] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise LTX2Error(f"a manifest must be writable; {path} is not: {error.strerror or error}") from error
        self._read()

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the power went, or the disk was full
            logging.getLogger("ltx2").warning("%s: its last line was cut short and is dropped", self.path)
            os.ftruncate(self._file, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                document = json.loads(line)
                result = RowResult(**{**document, "outputs": tuple(document["outputs"])})
            except (ValueError, TypeError, KeyError) as error:
                text = f"a manifest must hold results of rows; {self.path}, line {number} does not: {error}"
                raise LTX2Error(f"{text}; choose another folder") from error
            self._last[result.key] = result

    def last(self, key: str) -> RowResult | None:
        """What is known of the row that computes `key`."""
        return self._last.get(key)

    def write(self, result: RowResult) -> None:
        """Add a line; it is on the disk afterwards.

        Raises:
            LTX2Error: the disk is full, or gone.
        """
        line = json.dumps(asdict(result)).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("the disk took part of a line only")
            os.fsync(self._file)
        except OSError as error:
            raise LTX2Error(
                f"a manifest must be writable; {self.path} is not: {error}; make room, run again"
            ) from error
        self._last[result.key] = result

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
