"""The video VAE, borrowed with room for a clip, and how it handles one that does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from ..ltx2.config.video_vae import VideoVAEConfig
from ..ltx2.recipe import VideoVAERecipe
from ..ltx2.runtime.tiling import Size, Tiling, choose_tiling
from ..ltx2.sampling.memory import USED_SHARE
from .computation import Computation

#: What a clip of some size in pixels takes, handled so: `decode_bytes` or `encode_bytes` of the library's estimates.
Estimate = Callable[[VideoVAEConfig, Size, Tiling | None, torch.dtype], int]

_log = logging.getLogger("ltx2")


def borrow_for_whole(
    computation: Computation, recipe: VideoVAERecipe, size: Size, estimate: Estimate
) -> tuple[Any, Tiling]:
    """The VAE, and the best way to handle a clip of `size` (frames, height, width) that what is free allows.

    Asked for first is room to stream the clip, so that the host makes what room it can. What is not exact is logged.
    """

    def needed(tiling: Tiling) -> int:
        return estimate(recipe.config, size, tiling, computation.dtype)

    (vae,) = computation.borrow(recipe, activation_bytes=needed(Tiling()))
    free = None if computation.free_bytes is None else computation.free_bytes * USED_SHARE
    tiling = choose_tiling(size, lambda one: free is None or needed(one) <= free)
    if free is not None and tiling != Tiling():
        _tell(computation.title, tiling, size, f"it takes {needed(Tiling()) / 1e9:.2f} GB of {free / 1e9:.2f} usable")
        (vae,) = computation.borrow(recipe, activation_bytes=needed(tiling))
    return vae, tiling


def _tell(title: str, tiling: Tiling, size: Size, why: str) -> None:
    clip = f"{size[2]}x{size[1]}x{size[0]}"
    sides = [span for span in (tiling.height, tiling.width) if span]
    if not sides:
        _log.info("%s: what %s remembers of earlier frames waits in RAM, exact but slower, for %s", title, clip, why)
        return
    words = "%s: %s is cut into tiles of %d pixels, blended over %d: an approximation near their edges, for %s"
    _log.warning(words, title, clip, *sides[0], why)
