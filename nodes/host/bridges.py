"""ComfyUI's own classes, which only ComfyUI has: what the bridges to its nodes are made of."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ...ltx2.errors import LTX2Error
from . import current

if TYPE_CHECKING:
    from torch import Tensor


class Bridges(Protocol):
    """What `nodes.host.comfyui.bridges` answers."""

    def nested(self, tensors: tuple[Tensor, ...]) -> Any:
        """One tensor as it is; a video's and its sound's as the one value that ComfyUI has for both."""
        ...

    def shows_nested(self) -> bool:
        """Whether the callbacks of samplers are given nested values; else they get (B, 1, N)."""
        ...

    def takes_features(self) -> bool:
        """Whether ComfyUI's transformer runs the text connectors, so that it takes prompts before them."""
        ...

    def sampling_model(self, has_video: bool) -> Any:
        """What samplers ask the `model_patcher` of a guider for; no model that can be loaded."""
        ...


def bridges() -> Bridges:
    """Those of the host. Raises LTX2Error where the host is not ComfyUI."""
    if current().name != "comfyui":
        raise LTX2Error(
            "bridges to ComfyUI's own nodes must run in ComfyUI; this is the command line: use LTX-2 Sample and the "
            "other nodes of the pack"
        )
    return import_module(".comfyui.bridges", __package__)  # type: ignore[return-value]
