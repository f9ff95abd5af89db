"""Widgets that several nodes share, with their rules as tooltips, and the model folders behind file combos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ltx2.errors import LTX2Error
from ..ltx2.geometry import MAX_SEED
from .host import current

io = current().io


def file_combo(name: str, folders: tuple[str, ...], tooltip: str, *, with_folders: bool = False) -> Any:
    """A combo of the model files in `folders` (and of Hugging Face folders there)."""
    host = current()
    names = [file for folder in folders for file in host.model_files(folder)]
    if with_folders:
        names = [file for folder in folders for file in host.model_folders(folder)] + names
    where = " or ".join(f"models/{folder}" for folder in folders)
    return io.Combo.Input(name, options=sorted(set(names)), tooltip=f"{tooltip} Put it into {where}.")


def find_file(name: str, folders: tuple[str, ...]) -> Path:
    """The path of a name that `file_combo` offered. Raises LTX2Error where it is in none of the folders."""
    host = current()
    for folder in folders:
        if name in host.model_files(folder) or name in host.model_folders(folder):
            return host.model_path(folder, name)
    where = " or ".join(f"models/{folder}" for folder in folders)
    known = sorted({file for folder in folders for file in host.model_files(folder)})
    listed = f"there are {', '.join(known[:5])}" if known else "there are no files yet"
    raise LTX2Error(f"{name} must be in {where}; {listed}: put the file there and refresh")


def frame_rate(name: str = "frame_rate") -> Any:
    return io.MultiType.Input(
        io.Float.Input(
            name, default=24.0, min=1.0, max=240.0, step=0.001, tooltip="Frames per second; 1 to 240, whole or not."
        ),
        [io.Int],
    )


def seed() -> Any:
    return io.Int.Input(
        "seed",
        default=10,
        min=0,
        max=MAX_SEED,
        control_after_generate=True,
        tooltip="Of the noise; 0 to 2^53 - 1. The same seed gives the same clip on every device.",
    )


def tiling() -> list[Any]:
    """How much of a clip the video VAE decodes at once."""
    return [
        io.Combo.Input(
            "tiling",
            options=["automatic", "off", "set"],
            default="automatic",
            tooltip="automatic: frame after frame, exactly, and in blended tiles only where memory is short. off: all "
            "frames at once. set: in blended tiles of the sizes below.",
        ),
        io.Int.Input(
            "tile_size",
            default=768,
            min=64,
            max=4096,
            step=32,
            tooltip="Pixels on a side when tiling is set; a multiple of 32. They overlap by 64.",
            extra_dict={"advanced": True},
        ),
        io.Int.Input(
            "tile_frames",
            default=80,
            min=32,
            max=4096,
            step=8,
            tooltip="Frames of a tile when tiling is set; a multiple of 8. They overlap by 24.",
            extra_dict={"advanced": True},
        ),
    ]
