"""Images that the clip must show."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..ltx2 import latents
from ..ltx2.conditioning.guides import ImageGuide
from ..ltx2.errors import LTX2Error
from ..ltx2.geometry import PIXELS_PER_LATENT
from ..ltx2.recipe import VideoVAERecipe
from ..ltx2.runtime.tiled_vae import encode_video
from ..ltx2.runtime.tiling import choose_tiling, decode_bytes
from . import sockets
from .host import current
from .host.networks import borrow

io = current().io

# What encoding one takes (134 bytes per pixel in 16 bits) in frames of a clip: a lone frame is padded to a few.
_FRAMES_OF_A_PICTURE = 2


def _require_guides(guides: Any) -> None:
    sockets.require(guides, tuple, "guides", "LTX-2 Image Guide")
    for guide in guides:
        sockets.require(guide, ImageGuide, "every guide", "LTX-2 Image Guide")


def _require_image(image: Any) -> None:
    if not isinstance(image, Tensor) or image.ndim != 4:
        got = f"a tensor {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise LTX2Error(
            f"image must be an IMAGE, a tensor (batch, height, width, 3); got {got}: connect a node that gives images"
        )


class AddImageGuide(io.ComfyNode):
    """An image at a frame of the clip. Chain several; apply the chain before each sampling stage."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ImageGuide",
            display_name="LTX-2 Image Guide",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Image.Input("image", tooltip="One image of any size; it is scaled to cover the clip and cropped."),
                sockets.Guides.Input("guides", optional=True, tooltip="Guides to add this one to."),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=-9999,
                    max=9999,
                    tooltip="Frame of the clip that shows the image; -1 is the last one.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="0 (no effect) to 1 (kept as it is)."
                ),
                io.Int.Input(
                    "crf",
                    default=-1,
                    min=-1,
                    max=51,
                    tooltip="H.264 compression of the image, as the model knows it; -1 takes the release's, 0 none.",
                    extra_dict={"advanced": True},
                ),
            ],
            outputs=[sockets.Guides.Output("guides", display_name="guides")],
        )

    @classmethod
    def execute(cls, image: Any, frame: int, strength: float, crf: int, guides: Any = None) -> Any:
        _require_image(image)
        _require_guides(guides if guides is not None else ())
        guide = ImageGuide(image[:1], frame, strength, None if crf < 0 else crf)
        return io.NodeOutput((*(guides or ()), guide))


class ApplyGuides(io.ComfyNode):
    """Encode guides at the size of a video latent and attach them to it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ApplyGuides",
            display_name="LTX-2 Apply Guides",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", tooltip="The video latent that is sampled next."),
                sockets.Guides.Input("guides", tooltip="From LTX-2 Image Guide."),
                sockets.VideoVAE.Input("video_vae", tooltip="Encodes the images."),
            ],
            outputs=[io.Latent.Output("video", display_name="video")],
        )

    @classmethod
    def execute(cls, video: Any, guides: Any, video_vae: Any) -> Any:
        _require_guides(guides)
        sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        grid = tuple(latents.samples_of(video, "video").shape[2:])
        size = _FRAMES_OF_A_PICTURE, grid[1] * PIXELS_PER_LATENT, grid[2] * PIXELS_PER_LATENT
        tiling = choose_tiling(size)
        host = current()
        device = host.device()
        dtype = host.compute_dtype(device)
        conditions = []
        with host.progress("encode guides") as on_step, torch.no_grad():
            (vae,) = borrow(video_vae, activation_bytes=decode_bytes(size, tiling, bytes_per_value=dtype.itemsize))

            def encode(pixels: Tensor) -> Tensor:
                return encode_video(vae, pixels.to(device, dtype), tiling)

            for done, guide in enumerate(guides):
                on_step(done, len(guides))
                conditions.append(guide.encoded(encode, grid, video_vae.image_crf))
            on_step(len(guides), len(guides))
        return io.NodeOutput(latents.with_conditions(video, tuple(conditions)))


NODES = [AddImageGuide, ApplyGuides]
