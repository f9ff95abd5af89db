"""Previews of a clip while it is sampled, as ComfyUI makes them, and packs that have put themselves in its place.

VideoHelperSuite replaces `latent_preview.get_previewer`, so that the previewer plays the clip: it needs one that has
the factors of a linear map, and latents with frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from comfy.cli_args import LatentPreviewMethod, args
from torch import Tensor

from ....ltx2.preview.colours import Colours
from ....ltx2.preview.sheet import sheet

logger = logging.getLogger("ltx2")

#: A picture as ComfyUI sends it: (format, picture, longest side).
Show = Callable[[tuple[str, Any, int]], None]


class LTXV:
    """What previewers read of a latent format. VideoHelperSuite knows the rate of latents by this class's name."""

    latent_channels = 128
    latent_dimensions = 3
    taesd_decoder_name = None
    latent_rgb_factors_reshape = None

    def __init__(self, colours: Colours):
        self.latent_rgb_factors = colours.matrix.T.tolist()
        self.latent_rgb_factors_bias = colours.bias.tolist()


def previewer(show: Show, colours: Callable[[], Colours | None], device: Any) -> Callable[[Tensor], None] | None:
    """Shows clips (B, C, f, h, w) by `show`; None where the user wants no previews (--preview-method none).

    `colours` is asked only where they are wanted. ComfyUI's own previewer shows the first frame; in its place stands a
    sheet of several.
    """
    if args.preview_method == LatentPreviewMethod.NoPreviews:
        return None
    fitted = colours()
    if fitted is None:
        return None
    import latent_preview  # late: it loads much, all of which ComfyUI itself has loaded by now

    try:
        # By its name in the module: others replace it there.
        theirs = latent_preview.get_previewer(device, LTXV(fitted))
    except Exception as error:  # noqa: BLE001 - other packs answer; a preview must not fail a run
        logger.warning("no preview while sampling: get_previewer failed (%s: %s)", type(error).__name__, error)
        return None
    if theirs is None:
        return None
    if type(theirs) is latent_preview.Latent2RGBPreviewer:
        side = latent_preview.MAX_PREVIEW_RESOLUTION
        return lambda x0: show(("JPEG", sheet(fitted(x0[:1])[0], side), side))
    return _Others(theirs, show)


class _Others:
    """A previewer of another pack. It may show its pictures itself; when it fails, that is the end of it."""

    def __init__(self, theirs: Any, show: Show):
        self._theirs, self._show = theirs, show

    def __call__(self, x0: Tensor) -> None:
        if self._theirs is None:
            return
        try:
            picture = self._theirs.decode_latent_to_preview_image("JPEG", x0)
        except Exception as error:  # noqa: BLE001 - as above
            name = type(self._theirs).__name__
            logger.warning("no more previews of this run: %s failed (%s: %s)", name, type(error).__name__, error)
            self._theirs = None
            return
        if picture is not None:
            self._show(picture)
