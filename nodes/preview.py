"""What a clip looks like while it is sampled, shown where somebody looks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import Tensor

from ..ltx2.errors import LTX2Error
from ..ltx2.preview.colours import CLIPS, GRID, Colours, fit
from ..ltx2.preview.kept import kept_colours
from ..ltx2.recipe import TransformerRecipe, VideoVAERecipe
from ..ltx2.runtime.estimates import decode_bytes
from .computation import Computation
from .host import current

logger = logging.getLogger("ltx2")
_SECONDS_BETWEEN = 0.5
# What a decoder, or the machine under it, may raise; the host's interrupt is none of these.
_FAILURES = (LTX2Error, OSError, RuntimeError)


def live_preview(
    computation: Computation, transformer: TransformerRecipe, video_vae: VideoVAERecipe | None
) -> Callable[[Tensor], None] | None:
    """Shows clips (B, C, f, h, w), at most two a second; None where nobody looks, or nothing tells their colours.

    Its colours are fitted to `video_vae`, or to the one in the transformer's file, once for each VAE file. To be called
    before the transformer is borrowed: it may borrow the VAE. What fails here is logged, once for each reason.
    """
    show = current().previewer(lambda: _colours(computation, transformer, video_vae))
    return None if show is None else _paced(show)


def _paced(show: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    following = 0.0

    def show_when_due(x0: Tensor) -> None:
        nonlocal following
        if (now := time.monotonic()) >= following:
            following = now + _SECONDS_BETWEEN
            show(x0)

    return show_when_due


def _colours(
    computation: Computation, transformer: TransformerRecipe, video_vae: VideoVAERecipe | None
) -> Colours | None:
    file = transformer.file if video_vae is None else video_vae.file
    try:
        folder = current().cache_folder() / "previews"
        return kept_colours(folder, file, lambda: _fitted(computation, video_vae or VideoVAERecipe.open(file.path)))
    except _FAILURES as error:
        if current().is_out_of_memory(error):
            _tell_once(
                "no preview while sampling: fitting its colours, once for each VAE, took more memory than was free"
            )
            return None
        _tell_once(f"no preview while sampling: {error}; connect a video VAE to LTX-2 Sample where its file has none")
        return None


def _fitted(computation: Computation, recipe: VideoVAERecipe) -> Colours:
    host = current()
    # The computation's own device and dtype are the transformer's.
    device = host.device("vae")
    dtype = host.compute_dtype(device, "vae")
    height, width = (cells * recipe.config.spatial_compression for cells in GRID[1:])
    size = 1 + (GRID[0] - 1) * recipe.config.temporal_compression, height, width
    (vae,) = computation.borrow(recipe, activation_bytes=decode_bytes(recipe.config, size, None, dtype))
    logger.info("fitting the colours of previews to %r, once: %d clips of %dx%d", recipe, CLIPS, width, height)
    return fit(vae, device=device, dtype=dtype, on_step=lambda _done, _total: host.check_cancelled())


@lru_cache(maxsize=64)
def _tell_once(text: Any) -> None:
    logger.warning("%s", text)
