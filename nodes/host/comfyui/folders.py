"""Model, output and temp folders, wherever the user told ComfyUI that they are."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import folder_paths

from ....ltx2.errors import ModelFileError
from ..headless import folders as shared
from ..headless.folders import GGUF_FOLDERS, GGUF_SUFFIX, MODEL_SUFFIXES, contained, expanded


def model_files(folder: str) -> list[str]:
    """Names of the safetensors (and GGUF) files in a model folder. ComfyUI keeps the listing until it changes."""
    _make_known(folder)
    names = {name for name in folder_paths.get_filename_list(folder) if name.lower().endswith(MODEL_SUFFIXES)}
    if folder in GGUF_FOLDERS:
        names.update(folder_paths.get_filename_list(_with_gguf(folder)))
    return sorted(names)


def model_folders(folder: str) -> list[str]:
    """Names of the sub-folders with weights and a config.json beside them.

    They are found by the weights: that listing is kept by ComfyUI, and this runs at every look at a node's inputs.
    """
    names = {os.path.dirname(name) for name in model_files(folder)} - {""}
    return sorted(name for name in names if _folder_path(folder, name))


def model_path(folder: str, name: str) -> Path:
    """The path of a listed name; a name that is not listed, one that leads out of the folder say, has none."""
    if name in model_files(folder) and (path := folder_paths.get_full_path(folder, name)):
        return Path(path)
    if name in model_folders(folder) and (found := _folder_path(folder, name)):
        return found
    roots = " or ".join(folder_paths.get_folder_paths(folder))
    raise ModelFileError(f"a model must be in its folder; there is no '{name}' in {roots}; put it there and refresh")


def temp_file(suffix: str) -> Path:
    """A fresh path in ComfyUI's temp folder, which it empties when it starts and ends."""
    temp = Path(folder_paths.get_temp_directory())
    temp.mkdir(parents=True, exist_ok=True)
    return temp / f"ltx2_{uuid.uuid4().hex}{suffix}"


def cache_folder() -> Path:
    """A folder in ComfyUI's user folder, named as those are that its server never hands out."""
    return Path(folder_paths.get_user_directory()) / "__comfyui_ltx2"


def save_path(prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
    """The next free file of a prefix, and its sub-folder. The browser expands %date:...%, other clients do not."""
    output = Path(folder_paths.get_output_directory())
    prefix = expanded(prefix, width, height)
    contained(output, prefix)
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, str(output), width, height)
    return Path(folder) / f"{name}_{counter:05}_{suffix}", subfolder


def saved_files(suffix: str) -> list[str]:
    """Names of the files with this suffix in the input and the output folder."""
    return shared.saved_files(*_input_and_output(), suffix)


def saved_file(name: str) -> Path:
    return shared.saved_file(*_input_and_output(), name)


def _input_and_output() -> tuple[Path, Path]:
    return Path(folder_paths.get_input_directory()), Path(folder_paths.get_output_directory())


def _folder_path(folder: str, name: str) -> Path | None:
    candidates = (Path(root) / name for root in folder_paths.get_folder_paths(folder))
    return next((path for path in candidates if (path / "config.json").is_file()), None)


def _with_gguf(folder: str) -> str:
    """The name of a folder of the same places for GGUF files, which ComfyUI lists in none of its own."""
    name, places = f"ltx2_gguf_{folder}", folder_paths.folder_names_and_paths[folder][0]
    known = folder_paths.folder_names_and_paths.get(name)
    if known is None or known[0] is not places:
        folder_paths.folder_names_and_paths[name] = (places, {GGUF_SUFFIX})
    return name


def _make_known(folder: str) -> None:
    """Older versions lack some folders; an entry that is there, the user's own say, stays as it is."""
    if folder not in folder_paths.folder_names_and_paths:
        root = os.path.join(folder_paths.models_dir, folder)
        folder_paths.folder_names_and_paths[folder] = ([root], set(MODEL_SUFFIXES))
