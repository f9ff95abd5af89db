"""Strict reading of one JSON section of checkpoint metadata: every problem is reported at once.

A known key with an unsupported value is an error; an unknown key is reported and ignored, for real files hold more
keys than any list.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any, Protocol, TypeVar

from ..errors import ModelFileError

logger = logging.getLogger("ltx2")
_MISSING = object()
_TOO_LARGE = 1e300
_CURE = "get the file anew, or choose one of a release that is supported"


class Section:
    """A JSON object being read: remembers which keys were looked at and what was wrong with them.

    Problems and unknown keys are shared with every child section, so that `finish` reports all of them together.
    """

    def __init__(self, raw: Mapping[str, Any], path: str, parent: Section | None = None) -> None:
        self.raw = raw
        self.path = path
        self.problems: list[str] = parent.problems if parent else []
        self._family: list[Section] = parent._family if parent else []
        self._family.append(self)
        self._seen: set[str] = set()
        self._ignored: list[str] = []

    def take(
        self, key: str, default: Any = _MISSING, *, choices: tuple[Any, ...] | None = None, least: int | None = None
    ) -> Any:
        """The value of `key`, or `default` where it is absent. Lists become tuples; the type must be the default's.

        Without a default the key is required. `choices` are the supported values. `least` says that the value is a
        count, or a list of counts (of lists of them), and what each must be at least.
        """
        self._seen.add(key)
        if key not in self.raw:
            if default is _MISSING:
                self.problems.append(f"{self.path}.{key} is required and absent")
                return None
            return default
        value = _frozen(self.raw[key])
        if choices is not None and value not in choices:
            supported = ", ".join(repr(choice) for choice in choices)
            self.problems.append(f"{self.path}.{key} = {value!r} is not supported (supported: {supported})")
            return default if default is not _MISSING else choices[0]
        if default is not _MISSING and not _same_kind(value, default):
            self.problems.append(f"{self.path}.{key} must be {type(default).__name__}; got {value!r}")
            return default
        if least is not None and not _counts_from(least, value):
            what = "be a list of whole numbers of at least" if isinstance(value, tuple) else "be at least"
            self.problems.append(f"{self.path}.{key} must {what} {least}; got {self.raw[key]!r}")
            return default if default is not _MISSING else None
        return float(value) if isinstance(default, float) else value

    def expect(self, **constants: Any) -> None:
        """Keys that may be absent but, where present, must have these values: nothing else is implemented."""
        for key, value in constants.items():
            self.take(key, value, choices=(_frozen(value),))

    def child(self, key: str) -> Section:
        """The JSON object under `key` (an empty one where it is absent or no object; the latter is a problem)."""
        self._seen.add(key)
        value = self.raw.get(key, {})
        if not isinstance(value, Mapping):
            self.problems.append(f"{self.path}.{key} must be a JSON object; got {value!r}")
            value = {}
        return Section(value, f"{self.path}.{key}", self)

    def ignore(self, *patterns: str) -> None:
        """Keys (shell patterns) that another network reads or that mean nothing: neither a problem nor unknown."""
        self._ignored.extend(patterns)

    def unknown_keys(self) -> list[str]:
        """Dotted names of the keys of this section and its children that nobody asked for."""
        return [f"{s.path}.{key}" for s in self._family for key in s.raw if not s._is_known(key)]

    def finish(self, source: str = "") -> None:
        """Raise ModelFileError listing every problem; log the unknown keys. `source` is the name of the file."""
        if self.problems:
            listed = "\n".join(f"  - {problem}" for problem in self.problems)
            raise ModelFileError(f"{_config_of(source)} cannot be used:\n{listed}\n{_CURE}")
        if unknown := self.unknown_keys():
            logger.warning(
                "%sconfig keys not known and ignored: %s", f"{source}: " if source else "", ", ".join(unknown)
            )

    def _is_known(self, key: str) -> bool:
        return key in self._seen or any(fnmatch(key, pattern) for pattern in self._ignored)


class Config(Protocol):
    """What every network's config offers to the parser."""

    @classmethod
    def from_section(cls, section: Section) -> Any: ...


ConfigT = TypeVar("ConfigT", bound=Config)


def parse(config: type[ConfigT], raw: Mapping[str, Any], path: str, source: str = "") -> ConfigT:
    """Read `raw` (the JSON object at `path` of the metadata's config) into a `config`; `source` is the file's name.

    Raises ModelFileError, which names the file.
    """
    if not isinstance(raw, Mapping):
        raise ModelFileError(
            f"{_config_of(source)} cannot be used:\n  - {path} must be a JSON object; got {raw!r:.60}\n{_CURE}"
        )
    section = Section(raw, path)
    parsed = config.from_section(section)
    section.finish(source)
    return parsed


def _config_of(source: str) -> str:
    return f"the config of {source}" if source else "the checkpoint's config"


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _counts_from(least: int, value: Any) -> bool:
    """Whether `value` is a whole number of at least `least`, or a list of such that is not empty."""
    if isinstance(value, tuple):
        return bool(value) and all(_counts_from(least, item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _same_kind(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and abs(value) < _TOO_LARGE  # false for NaN, too
    return isinstance(value, type(default))
