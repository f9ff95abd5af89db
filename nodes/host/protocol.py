"""What nodes may ask of the program that runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from ...ltx2.preview.colours import Colours

#: Called with (units done, units in all); raises the host's interrupt when the user has cancelled.
OnStep = Callable[[int, int], None]


class Host(Protocol):
    """The schema vocabulary, model folders, output folders, progress with cancellation, devices and memory."""

    name: str  # "comfyui" or "headless"
    io: Any  # comfy_api.latest.io, or the headless stand-in for the part that the pack uses
    ui: Any  # comfy_api.latest.ui, likewise

    def schema(self, **fields: Any) -> Any:
        """An io.Schema of `fields`, less those that this host's version does not know."""
        ...

    def model_files(self, folder: str) -> list[str]:
        """Names (relative, with sub-folders, sorted) of the safetensors files in a model folder ("loras", ...)."""
        ...

    def model_folders(self, folder: str) -> list[str]:
        """Names of the sub-folders of a model folder that hold a config.json (Hugging Face layout)."""
        ...

    def model_path(self, folder: str, name: str) -> Path:
        """The absolute path of a name that `model_files` or `model_folders` listed.

        Raises:
            LTX2Error: no such file; names the folder and says where to put it.
        """
        ...

    def temp_file(self, suffix: str) -> Path:
        """A fresh path (not yet existing) in the temp folder."""
        ...

    def cache_folder(self) -> Path:
        """The pack's own folder for what may be kept from run to run and can always be made again; it may not exist."""
        ...

    def save_path(self, prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
        """(absolute path of the next free file for `prefix` in the output folder, its sub-folder for the UI).

        Expands ComfyUI's %date:...% and %width% variables; a prefix that leaves the output folder is refused.
        """
        ...

    def saved_files(self, suffix: str) -> list[str]:
        """Names of the files with this suffix in the input folder, then in the output folder (" [output]" behind)."""
        ...

    def saved_file(self, name: str) -> Path:
        """The path of a name that `saved_files` listed.

        Raises:
            LTX2Error: no such file, or a name that leaves its folder.
        """
        ...

    def video_from_file(self, path: Path) -> Any:
        """The VIDEO value of a file."""
        ...

    def saves_metadata(self) -> bool:
        """Whether the workflow may be written into produced files (--disable-metadata)."""
        ...

    def progress(self, title: str) -> AbstractContextManager[OnStep]:
        """A progress bar of the node that runs now; its OnStep updates it and raises when cancelled."""
        ...

    def previewer(self, colours: Callable[[], Colours | None]) -> Callable[[torch.Tensor], None] | None:
        """Shows clips (B, C, f, h, w) on the node that runs, within `progress`; None where nobody wants to see them.

        `colours` is asked where somebody does; None says that there are none.
        """
        ...

    def status(self, text: str) -> None:
        """Show what the node that runs does now, where no step can be counted."""
        ...

    def check_cancelled(self) -> None:
        """Raise the host's interrupt when the user has cancelled."""
        ...

    def device(self, part: str = "") -> torch.device:
        """The device that networks compute on, unless the user's flags say otherwise for this part of the model.

        Parts are "transformer", "vae" (the vocoder and the upsampler too) and "text".
        """
        ...

    def compute_dtype(self, device: torch.device, part: str = "") -> torch.dtype:
        """bf16 on CUDA, fp32 on CPU, unless the user's flags say otherwise for this part of the model."""
        ...

    def hold(self, network: torch.nn.Module, num_bytes: int, part: str = "") -> Any:
        """Register a ready network, which is of `part` of the model, with the host's memory management.

        The handle's `change(function)` calls `function` on the network while all tensors are where they were when it
        was registered, and may be replaced; `release()` drops it.
        """
        ...

    def load(self, handles: Sequence[Any], activation_bytes: int) -> None:
        """Bring the networks of all these handles to their device together, and make room for what they will compute.

        Others are evicted, none of these.
        """
        ...

    def free_memory(self, device: torch.device | None = None) -> int | None:
        """Bytes that can still be allocated on `device`, by default `device()`; None where that is no limit (CPU)."""
        ...

    def reclaimable_memory(self, device: torch.device) -> int:
        """Bytes that networks have on `device`, all of which would leave it to others."""
        ...

    def free_ram(self) -> int | None:
        """Bytes of the machine's RAM that can be taken without others being pushed out; None where nobody tells."""
        ...

    def peak_memory(self) -> int | None:
        """The most bytes allocated on `device()` since the last call; None where it does not tell (CPU)."""
        ...

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether `error` says that memory ran out."""
        ...

    def unload_all(self) -> None:
        """Take all networks off `device()` and give back what its allocator keeps; they return when they are loaded."""
        ...
