"""Between the stages: upsampling, and the frame rate that foreign nodes may drop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ltx2 import latents
from ..ltx2.errors import LTX2Error
from ..ltx2.networks.upsampler import upsample
from ..ltx2.recipe import UpsamplerRecipe, VideoVAERecipe
from ..ltx2.runtime.estimates import upsample_bytes
from . import sockets, widgets
from .computation import Computation
from .host import current

io = current().io


class UpsampleLatent(io.ComfyNode):
    """Enlarge a video latent before the second stage. Temporal upsamplers double the frame rate."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_UpsampleLatent",
            display_name="LTX-2 Upsample Latent",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", tooltip="From LTX-2 Sample."),
                sockets.Upsampler.Input("upsampler", tooltip="From LTX-2 Load Upsampler."),
                sockets.VideoVAE.Input("video_vae", tooltip="Its statistics tell the upsampler what latents mean."),
            ],
            outputs=[io.Latent.Output("video", display_name="video")],
        )

    @classmethod
    def execute(cls, video: Any, upsampler: Any, video_vae: Any) -> Any:
        sockets.require(upsampler, UpsamplerRecipe, "upsampler", "LTX-2 Load Upsampler")
        sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        samples, clip = latents.samples_of(video, "video"), latents.clip_of(video)
        if samples.shape[1] != upsampler.config.in_channels:
            raise LTX2Error(
                f"a video latent must have {upsampler.config.in_channels} channels for this upsampler; got "
                f"{samples.shape[1]}: use latents made by LTX-2 nodes"
            )
        with Computation("upsample") as computation:
            computation.on_step(0, 1)
            room = upsample_bytes(upsampler.config, tuple(samples.shape[2:]), computation.dtype)
            network, vae = computation.borrow(upsampler, video_vae, activation_bytes=room)
            samples = samples.to(computation.device).float()
            larger = upsample(network, samples, vae.statistics, dtype=computation.dtype).float().cpu()
            computation.on_step(1, 1)
        rate = clip.frame_rate * (2 if upsampler.config.temporal_upsample else 1)
        return io.NodeOutput({"samples": larger, latents.KEY: replace(clip.spent(), frame_rate=rate)})


class SetFrameRate(io.ComfyNode):
    """Say a latent's frame rate again after a node of another pack has dropped it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_SetFrameRate",
            display_name="LTX-2 Set Frame Rate",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[io.Latent.Input("latent", tooltip="A video or audio latent."), widgets.frame_rate()],
            outputs=[io.Latent.Output("latent", display_name="latent")],
        )

    @classmethod
    def execute(cls, latent: Any, frame_rate: float) -> Any:
        return io.NodeOutput(latents.with_frame_rate(latent, float(frame_rate)))


NODES = [UpsampleLatent, SetFrameRate]
