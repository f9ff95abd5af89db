"""The headless host: what nodes may ask for, answered without ComfyUI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

import torch

from ....ltx2.errors import LTX2Error
from ....ltx2.packages import Image
from ....ltx2.preview.colours import Colours
from ....ltx2.preview.sheet import sheet
from ....ltx2.runtime.placement import free_ram
from ..out_of_memory import is_out_of_memory
from ..peak import peak_memory
from . import io, ui
from .cancellation import Cancellation
from .folders import Folders, saved_file, saved_files
from .memory import DeviceMemory, HeldNetwork
from .progress import Observer, Progress
from .video import VideoFromFile

_PREVIEW_SIDE = 512


class HeadlessHost:
    """Implements `nodes.host.protocol.Host`. A context manager: leaving it removes the temp folder.

    Args:
        models, input, output: folders; models has ComfyUI's sub-folders (checkpoints, loras, ...).
        temp: where the temp folder is made; None for the system's place.
        cache: what is kept from run to run; None for a folder in the temp folder, so that nothing is.
        device: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1".
        metadata: whether workflows may be written into produced files.
        stream: where progress goes; None for stderr.
        observer: told what becomes of a graph's nodes.
        on_preview: called with pictures of the clip while it is sampled; None makes none.
    """

    name = "headless"
    io = io
    ui = ui

    def __init__(
        self,
        models: Path = Path("models"),
        input: Path = Path("input"),
        output: Path = Path("output"),
        *,
        temp: Path | None = None,
        cache: Path | None = None,
        device: str = "auto",
        metadata: bool = True,
        cancellation: Cancellation | None = None,
        stream: TextIO | None = None,
        observer: Observer | None = None,
        on_preview: Callable[[Image.Image], None] | None = None,
    ):
        self.folders = Folders(models, input, output, temp, cache)
        self.cancellation = cancellation or Cancellation()
        self.progress_lines = Progress(self.cancellation, stream, observer)
        self._memory = DeviceMemory(_device(device), self.cancellation.check)
        self._metadata = metadata
        self._on_preview = on_preview

    def __enter__(self) -> HeadlessHost:
        return self

    def __exit__(self, *_: Any) -> None:
        self.folders.close()

    def schema(self, **fields: Any) -> io.Schema:
        return io.Schema(**{name: value for name, value in fields.items() if name in io.Schema.__dataclass_fields__})

    def model_files(self, folder: str) -> list[str]:
        return self.folders.model_files(folder)

    def model_folders(self, folder: str) -> list[str]:
        return self.folders.model_folders(folder)

    def model_path(self, folder: str, name: str) -> Path:
        return self.folders.model_path(folder, name)

    def temp_file(self, suffix: str) -> Path:
        return self.folders.temp_file(suffix)

    def cache_folder(self) -> Path:
        return self.folders.cache

    def save_path(self, prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
        return self.folders.save_path(prefix, suffix, width, height)

    def saved_files(self, suffix: str) -> list[str]:
        return saved_files(self.folders.input, self.folders.output, suffix)

    def saved_file(self, name: str) -> Path:
        return saved_file(self.folders.input, self.folders.output, name)

    def video_from_file(self, path: Path) -> VideoFromFile:
        """The VIDEO value of a file."""
        return VideoFromFile(str(path))

    def saves_metadata(self) -> bool:
        return self._metadata

    def progress(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]:
        return self.progress_lines.stage(title)

    def previewer(self, colours: Callable[[], Colours | None]) -> Callable[[torch.Tensor], None] | None:
        on_preview = self._on_preview
        if on_preview is None or (fitted := colours()) is None:
            return None
        return lambda x0: on_preview(sheet(fitted(x0[:1])[0], _PREVIEW_SIDE))

    def status(self, text: str) -> None:
        self.progress_lines.status(text)

    def check_cancelled(self) -> None:
        self.cancellation.check()

    def device(self, part: str = "") -> torch.device:
        return self._memory.device

    def compute_dtype(self, device: torch.device, part: str = "") -> torch.dtype:
        return torch.float32 if device.type == "cpu" else torch.bfloat16

    def hold(self, network: torch.nn.Module, num_bytes: int, part: str = "") -> HeldNetwork:
        return HeldNetwork(self._memory, network, num_bytes)

    def load(self, handles: Sequence[HeldNetwork], activation_bytes: int) -> None:
        self._memory.load(handles, activation_bytes)

    def free_memory(self, device: torch.device | None = None) -> int | None:
        return self._memory.free()

    def reclaimable_memory(self, device: torch.device) -> int:
        return self._memory.loaded_bytes

    def free_ram(self) -> int | None:
        return free_ram()

    def peak_memory(self) -> int | None:
        return peak_memory(self.device())

    def is_out_of_memory(self, error: BaseException) -> bool:
        return is_out_of_memory(error)

    def unload_all(self) -> None:
        self._memory.unload_all()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LTX2Error(f"a device must be auto, cpu, cuda or cuda:<number>; got '{name}'") from error
    if device.type not in ("cpu", "cuda"):
        raise LTX2Error(f"a device must be auto, cpu, cuda or cuda:<number>; got '{name}'")
    if device.type == "cpu":
        return device
    index, count = device.index or 0, torch.cuda.device_count()
    if index >= count:
        raise LTX2Error(
            f"a device must exist; '{name}' does not, there are {count} CUDA devices; choose another or auto"
        )
    return torch.device("cuda", index)  # as tensors tell it
