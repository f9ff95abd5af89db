"""Model, input, output and temp folders in ComfyUI's layout. No name can lead out of the folder that it belongs to."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
import weakref
from pathlib import Path, PurePosixPath, PureWindowsPath

from ....ltx2.errors import LTX2Error, ModelFileError

MODEL_SUFFIXES = (".safetensors", ".sft")
GGUF_SUFFIX = ".gguf"
#: Folders whose GGUF files are listed, too.
GGUF_FOLDERS = ("checkpoints", "diffusion_models", "text_encoders")
_LONGEST_NAME = 255
_OUTPUT = " [output]"
#: Folders that ComfyUI reads besides the one with the key's name, in its order.
ALIASES = {"diffusion_models": ("unet", "diffusion_models"), "text_encoders": ("text_encoders", "clip")}
_DATE_PARTS = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}
_DATE_WORDS = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H", "minute": "%M", "second": "%S"}


def contained(folder: Path, name: str) -> Path:
    """The path of `name` below `folder`.

    Raises:
        LTX2Error: the name is absolute or climbs out; links that lie in the folder may point anywhere.
    """
    windows, parts = PureWindowsPath(name), PurePosixPath(name.replace("\\", "/")).parts
    if not name or windows.drive or windows.root or name.startswith("/") or ".." in parts or "\0" in name:
        raise LTX2Error(f"a name must stay inside its folder; got '{name}' for {folder}; give a name relative to it")
    return folder.joinpath(*parts)


def user_cache() -> Path:
    """The folder of this user for what programs keep from run to run, as each system has it."""
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "comfyui-ltx2"


class Folders:
    """The folders of one host; the temp folder exists from its first use until `close` or the end of the process."""

    def __init__(self, models: Path, input: Path, output: Path, temp: Path | None = None, cache: Path | None = None):
        self.models = models.absolute()
        self.input = input.absolute()
        self.output = output.absolute()
        self._cache = cache
        self._temp_parent = temp
        self._temp: Path | None = None
        self._remove_temp = lambda: None
        self._num_temp_files = 0

    def _roots(self, folder: str) -> list[Path]:
        return [self.models / name for name in ALIASES.get(folder, (folder,))]

    def model_files(self, folder: str) -> list[str]:
        found = set()
        suffixes = (*MODEL_SUFFIXES, GGUF_SUFFIX) if folder in GGUF_FOLDERS else MODEL_SUFFIXES
        for root in self._roots(folder):
            found |= {_name(path, root) for path in _walk(root) if path.suffix.lower() in suffixes}
        return sorted(found)

    def model_folders(self, folder: str) -> list[str]:
        found = set()
        for root in self._roots(folder):
            found |= {_name(path.parent, root) for path in _walk(root) if path.name == "config.json"}
        return sorted(found - {"."})

    def model_path(self, folder: str, name: str) -> Path:
        candidates = [contained(root, name) for root in self._roots(folder)]
        for path in candidates:
            if path.exists():
                return path
        home = self.models / folder
        raise ModelFileError(f"a model must be in its folder; there is no '{name}' in {home}; put it there")

    def input_path(self, name: str) -> Path:
        """The path of a file in the input folder, or in another one that is named behind it: "a.png [output]"."""
        match = re.fullmatch(r"(.*) \[(input|output|temp)\]", name)
        name, kind = match.groups() if match else (name, "input")
        folder = {"input": self.input, "output": self.output}.get(kind) or self.temp
        path = contained(folder, name)
        if not path.is_file():
            raise LTX2Error(f"an input file must be in {folder}; there is no '{name}'; put it there or name another")
        return path

    def input_files(self, suffixes: tuple[str, ...]) -> list[str]:
        """Names of the files with these suffixes in the input folder, sorted."""
        files = self.input.iterdir() if self.input.is_dir() else ()
        return sorted(path.name for path in files if path.suffix.lower() in suffixes and path.is_file())

    @property
    def temp(self) -> Path:
        if self._temp is None:
            if self._temp_parent is not None:
                self._temp_parent.mkdir(parents=True, exist_ok=True)
            self._temp = Path(tempfile.mkdtemp(prefix="ltx2-", dir=self._temp_parent))
            self._remove_temp = weakref.finalize(self, shutil.rmtree, self._temp, ignore_errors=True)
        return self._temp

    def temp_file(self, suffix: str) -> Path:
        self._num_temp_files += 1
        return self.temp / f"{self._num_temp_files:05}{suffix}"

    @property
    def cache(self) -> Path:
        """Where what is kept goes: the folder that was given, or one that goes with the temp folder."""
        return self._cache or self.temp / "cache"

    def close(self) -> None:
        """Remove the temp folder."""
        self._remove_temp()
        self._temp = None

    def save_path(self, prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
        """The next free `<prefix>_00001_<suffix>` and its sub-folder of the output folder, which is made.

        Raises:
            LTX2Error: the prefix leads out of the output folder, names no file, is too long, or goes through a file.
        """
        name = expanded(prefix, width, height)
        path = contained(self.output, name)
        if path == self.output:
            raise LTX2Error(f"a file name prefix must name a file; got '{prefix}'; write for example 'video/clip'")
        _check_lengths(path.relative_to(self.output), prefix, suffix)
        _make_folder(path.parent, self.output, prefix)
        pattern = re.compile(re.escape(path.name) + r"_(\d+)_?\..*")
        taken = [int(match[1]) for each in path.parent.iterdir() if (match := pattern.fullmatch(each.name))]
        subfolder = path.parent.relative_to(self.output).as_posix()
        file = path.parent / f"{path.name}_{max(taken, default=0) + 1:05}_{suffix}"
        return file, "" if subfolder == "." else subfolder


def saved_files(input: Path, output: Path, suffix: str) -> list[str]:
    """Names (relative, with sub-folders, sorted) of the files with this suffix in the input, then in the output folder.

    The latter have " [output]" behind them, as ComfyUI writes it. Links to folders are not followed.
    """
    names = (
        (_name(path, folder) for path in folder.rglob(f"*{suffix}") if path.is_file()) for folder in (input, output)
    )
    own, made = (sorted(each) for each in names)
    return [*own, *(name + _OUTPUT for name in made)]


def saved_file(input: Path, output: Path, name: str) -> Path:
    """The path of a name that `saved_files` gave. Raises LTX2Error where there is none, or it leaves its folder."""
    folder = output if name.endswith(_OUTPUT) else input
    path = contained(folder, name.removesuffix(_OUTPUT))
    if not path.is_file():
        raise LTX2Error(
            f"a saved file must be in its folder; there is no '{name}' in {folder}; put it there and refresh"
        )
    return path


def _check_lengths(path: Path, prefix: str, suffix: str) -> None:
    """File systems take names of up to 255 bytes."""
    for part, extra in ((path.name, f"_00001_{suffix}"), *((part, "") for part in path.parent.parts)):
        length = len((part + extra).encode("utf-8", "surrogatepass"))
        if length > _LONGEST_NAME:
            raise LTX2Error(
                f"the name of a file or folder may have {_LONGEST_NAME} bytes; '{part[:20]}...{extra}' from the file "
                f"name prefix '{prefix[:40]}...' has {length}; shorten the prefix"
            )


def _make_folder(folder: Path, output: Path, prefix: str) -> None:
    """Make `folder`, which is `output` or lies in it."""
    try:
        for path in (folder, *folder.parents):
            if path.exists() and not path.is_dir():
                raise LTX2Error(
                    f"the folders of a file name prefix must be folders; '{prefix}' goes through {path}, which is a "
                    "file; give another prefix"
                )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LTX2Error(
            f"the output folder must be writable; {folder} cannot be made ({error.strerror or error}); check the "
            f"permissions of {output}, or give another output folder or file name prefix"
        ) from error


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _walk(root: Path) -> list[Path]:
    """Files below `root`. Links to folders are followed, as in ComfyUI, but not round in circles."""
    found, waiting, seen = [], [root] if root.is_dir() else [], set()
    while waiting:
        folder = waiting.pop()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        for path in folder.iterdir():
            if path.is_dir():
                waiting.append(path)
            elif path.is_file():
                found.append(path)
    return found


def expanded(prefix: str, width: int, height: int) -> str:
    """ComfyUI's variables: %width%, %height%, %year% ... %second%, %date:yyyy-MM-dd% (also of `hh`, `mm`, `ss`)."""
    now = time.localtime()

    def date(match: re.Match) -> str:
        parts = re.sub("yyyy|yy|MM|dd|hh|mm|ss", lambda part: time.strftime(_DATE_PARTS[part[0]], now), match[1])
        return parts.replace("/", "-")

    prefix = re.sub(r"%date:([^%]*)%", date, prefix)
    prefix = prefix.replace("%date%", time.strftime("%Y-%m-%d", now))
    prefix = prefix.replace("%width%", str(width)).replace("%height%", str(height))
    return re.sub(f"%({'|'.join(_DATE_WORDS)})%", lambda word: time.strftime(_DATE_WORDS[word[1]], now), prefix)
