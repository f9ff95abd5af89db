"""The ComfyUI host: what nodes may ask for, answered by the ComfyUI that loaded the pack."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.model_management as management
import torch
from comfy.cli_args import args
from comfy.utils import ProgressBar
from comfy_api.latest import InputImpl, io, ui
from comfy_execution.utils import get_executing_context

from ....ltx2.preview.colours import Colours
from ....ltx2.runtime.placement import free_ram
from ..out_of_memory import is_out_of_memory
from ..peak import peak_memory
from ..protocol import OnStep
from . import folders, previews
from .dtypes import asked_dtype
from .memory import HeldNetwork, load_together

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}
_MAX_TOTAL = 300  # of a progress bar
_UPDATE_SECONDS = 0.1


class ComfyHost:
    """Implements `nodes.host.protocol.Host`."""

    name = "comfyui"
    io = io
    ui = ui

    def schema(self, **fields: Any) -> io.Schema:
        return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})

    def model_files(self, folder: str) -> list[str]:
        return folders.model_files(folder)

    def model_folders(self, folder: str) -> list[str]:
        return folders.model_folders(folder)

    def model_path(self, folder: str, name: str) -> Path:
        return folders.model_path(folder, name)

    def temp_file(self, suffix: str) -> Path:
        return folders.temp_file(suffix)

    def cache_folder(self) -> Path:
        return folders.cache_folder()

    def save_path(self, prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
        return folders.save_path(prefix, suffix, width, height)

    def saved_files(self, suffix: str) -> list[str]:
        return folders.saved_files(suffix)

    def saved_file(self, name: str) -> Path:
        return folders.saved_file(name)

    def video_from_file(self, path: Path) -> Any:
        return InputImpl.VideoFromFile(str(path))

    def saves_metadata(self) -> bool:
        return not args.disable_metadata

    @contextmanager
    def progress(self, title: str) -> Iterator[OnStep]:
        """ComfyUI shows the bar on the node that runs, under that node's name: it has no place for `title`."""
        self.check_cancelled()
        self._progress = _Progress()
        yield self._progress.on_step

    def previewer(self, colours: Callable[[], Colours | None]) -> Callable[[torch.Tensor], None] | None:
        return previews.previewer(self._progress.show, colours, self.device())

    def status(self, text: str) -> None:
        """Shown under the node's widgets; nowhere while no node runs."""
        if (context := get_executing_context()) is not None:
            from server import PromptServer  # not at the top: without a server there may be no such module

            PromptServer.instance.send_progress_text(text, context.node_id)

    def check_cancelled(self) -> None:
        management.throw_exception_if_processing_interrupted()

    def device(self, part: str = "") -> torch.device:
        """--cpu-vae keeps the VAEs, the vocoder and the upsampler on the processor."""
        return management.vae_device() if part == "vae" else management.get_torch_device()

    def compute_dtype(self, device: torch.device, part: str = "") -> torch.dtype:
        """bf16 where ComfyUI uses it, with the user's flags (--force-fp32, --fp32-vae, ...); fp16 would overflow."""
        return asked_dtype(part) or (torch.bfloat16 if management.should_use_bf16(device) else torch.float32)

    def hold(self, network: torch.nn.Module, num_bytes: int, part: str = "") -> HeldNetwork:
        return HeldNetwork(network, self.device(part))

    def load(self, handles: Sequence[HeldNetwork], activation_bytes: int) -> None:
        load_together(handles, activation_bytes)

    def free_memory(self, device: torch.device | None = None) -> int | None:
        device = device or self.device()
        return None if device.type == "cpu" else int(management.get_free_memory(device))

    def reclaimable_memory(self, device: torch.device) -> int:
        loaded = [each for each in management.current_loaded_models if each.model is not None and each.device == device]
        return sum(each.model_loaded_memory() for each in loaded)

    def free_ram(self) -> int | None:
        # ComfyUI asks the system, whichever it is; a container may have less.
        found = (int(management.get_free_memory(torch.device("cpu"))), free_ram())
        return min(amount for amount in found if amount is not None)

    def peak_memory(self) -> int | None:
        return peak_memory(self.device())

    def is_out_of_memory(self, error: BaseException) -> bool:
        # Where torch has no such class ComfyUI takes every exception for one.
        theirs = management.OOM_EXCEPTION
        found = is_out_of_memory(error) or (theirs is not Exception and isinstance(error, theirs))
        # Older versions ask CUDA for it even where torch has none.
        if found and torch.cuda.is_available() and hasattr(management, "discard_cuda_async_error"):
            management.discard_cuda_async_error()
        return found

    def unload_all(self) -> None:
        management.unload_all_models()
        management.soft_empty_cache()


class _Progress:
    """One stage's bar. Cancelling is looked for at every step: the bar itself drops updates that come fast."""

    def __init__(self) -> None:
        self._bar = ProgressBar(1)
        self._next_update = 0.0

    def on_step(self, done: int, total: int) -> None:
        management.throw_exception_if_processing_interrupted()
        now = time.monotonic()
        if now < self._next_update and done < total:
            return
        self._next_update = now + _UPDATE_SECONDS
        shown = min(max(total, 1), _MAX_TOTAL)
        self._bar.update_absolute(done * shown // max(total, 1), shown)

    def show(self, picture: tuple[str, Any, int]) -> None:
        """Send a preview; the bar stays where it is."""
        self._bar.update_absolute(self._bar.current, self._bar.total, picture)
