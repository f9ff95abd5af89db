"""Clips and sounds that exist already, as latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..ltx2.encoding import encode_footage, encode_sound, frozen, own_canvas, sound_of
from ..ltx2.errors import LTX2Error
from ..ltx2.geometry import Canvas, audio_latents, pixel_frames
from ..ltx2.latents import KEY, Clip, clip_of, samples_of
from ..ltx2.media.frame_rate import frame_rate_fraction
from ..ltx2.media.reader import Pictures, VideoFile
from ..ltx2.recipe import AudioVAERecipe, VideoVAERecipe
from ..ltx2.runtime.estimates import encode_bytes, encode_sound_bytes
from . import sockets
from .computation import Computation
from .host import current
from .host.video_input import footage_of
from .video_vae import borrow_for_whole

io = current().io


def _start(of: str) -> Any:
    return io.Float.Input(
        "start", default=0.0, min=0.0, max=86400.0, step=0.001, tooltip=f"Seconds into the {of} where the clip starts."
    )


class EncodeVideo(io.ComfyNode):
    """A video as a latent, with its sound as it is and the canvas that both fill. It is read while it is encoded."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_EncodeVideo",
            display_name="LTX-2 Encode Video",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A video; or images, one after the other at the canvas's frame rate.",
                ),
                sockets.VideoVAE.Input("video_vae", tooltip="From an LTX-2 loader."),
                sockets.Canvas.Input(
                    "canvas",
                    optional=True,
                    tooltip="Size, length and frame rate of the latent. Without it they are the video's own, cut to "
                    "multiples of 32 pixels and 8n + 1 frames. Needed for images.",
                ),
                _start("video"),
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Audio.Output(
                    "audio", display_name="audio", tooltip="The video's own sound; nothing if it has none."
                ),
                sockets.Canvas.Output("canvas", display_name="canvas"),
            ],
        )

    @classmethod
    def execute(cls, video: Any, video_vae: Any, start: float, canvas: Any = None) -> Any:
        sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        sockets.require(canvas, (Canvas, type(None)), "canvas", "LTX-2 Canvas")
        footage = _footage(video, start, canvas)
        canvas = canvas or own_canvas(footage)
        size = canvas.frames, canvas.height, canvas.width
        with Computation("encode video") as computation:
            vae, tiling = borrow_for_whole(computation, video_vae, size, encode_bytes)
            latent = encode_footage(
                vae,
                footage,
                canvas,
                tiling=tiling,
                device=computation.device,
                dtype=computation.dtype,
                on_step=computation.on_step,
            )
        clip = {"samples": latent, KEY: Clip(canvas.frame_rate)}
        return io.NodeOutput(clip, sound_of(footage, canvas), canvas)


def _footage(video: Any, start: float, canvas: Canvas | None) -> VideoFile | Pictures:
    if not isinstance(video, Tensor):
        return footage_of(video, start)
    sockets.require_images(video, "video")
    if canvas is None:
        raise LTX2Error("images have no frame rate; got no canvas: connect LTX-2 Canvas, or a VIDEO instead")
    return Pictures(video, frame_rate_fraction(canvas.frame_rate), start=start)


class EncodeAudio(io.ComfyNode):
    """A sound as a latent of a clip's length: what is longer is cut, what is shorter goes on as silence."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_EncodeAudio",
            display_name="LTX-2 Encode Audio",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[
                io.Audio.Input("audio", tooltip="Mono or stereo, at any sample rate."),
                sockets.AudioVAE.Input("audio_vae", tooltip="From an LTX-2 loader."),
                sockets.Canvas.Input("canvas", optional=True, tooltip="The clip that the sound is for; or a latent."),
                io.Latent.Input("video", optional=True, tooltip="The video latent that the sound is for; or a canvas."),
                _start("sound"),
            ],
            outputs=[io.Latent.Output("audio", display_name="audio")],
        )

    @classmethod
    def execute(cls, audio: Any, audio_vae: Any, start: float, canvas: Any = None, video: Any = None) -> Any:
        sockets.require(audio_vae, AudioVAERecipe, "audio_vae", "an LTX-2 loader")
        frames, rate = _length(canvas, video)
        length = max(1, audio_latents(frames, rate))
        with Computation("encode audio") as computation:
            computation.on_step(0, 1)
            room = encode_sound_bytes(audio_vae.config, length, computation.dtype)
            (vae,) = computation.borrow(audio_vae, activation_bytes=room)
            latent = encode_sound(
                vae, audio, start=start, length=length, device=computation.device, dtype=computation.dtype
            )
            computation.on_step(1, 1)
        return io.NodeOutput({"samples": latent, KEY: Clip(rate)})


def _length(canvas: Any, video: Any) -> tuple[int, float]:
    """(frames, frames per second) of the clip that the sound is for."""
    if (canvas is None) == (video is None):
        got = "neither" if canvas is None else "both"
        raise LTX2Error(f"a canvas or a video latent must say how long the sound is; got {got}: connect one of them")
    if video is not None:
        return pixel_frames(samples_of(video, "video").shape[2]), clip_of(video).frame_rate
    sockets.require(canvas, Canvas, "canvas", "LTX-2 Canvas")
    return canvas.frames, canvas.frame_rate


class Freeze(io.ComfyNode):
    """Keep a video or audio latent as it is while the other one is generated for it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Freeze",
            display_name="LTX-2 Freeze",
            category="LTX-2/latents",
            description=cls.__doc__,
            inputs=[io.Latent.Input("latent", tooltip="A video or audio latent.")],
            outputs=[io.Latent.Output("latent", display_name="latent")],
        )

    @classmethod
    def execute(cls, latent: Any) -> Any:
        return io.NodeOutput(frozen(latent))


NODES = [EncodeVideo, EncodeAudio, Freeze]
