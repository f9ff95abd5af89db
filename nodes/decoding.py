"""Latents to sound, video files and frames."""

from __future__ import annotations

from typing import Any

import torch

from ..ltx2.decoding import decode_frames, decode_sound, decode_to_file
from ..ltx2.encoding import waveform_of
from ..ltx2.errors import LTX2Error
from ..ltx2.geometry import pixel_frames
from ..ltx2.latents import clip_of, samples_of
from ..ltx2.recipe import AudioVAERecipe, VideoVAERecipe, VocoderRecipe
from ..ltx2.runtime.estimates import decode_bytes, decode_sound_bytes
from ..ltx2.runtime.tiling import Tiling
from . import sockets, widgets
from .computation import Computation
from .host import current
from .video_vae import borrow_for_whole

io = current().io


def _size(samples: Any, recipe: VideoVAERecipe) -> tuple[int, int, int]:
    """(frames, height, width) of what comes out. Raises LTX2Error where the latent is not for this VAE."""
    if samples.shape[0] != 1:
        raise LTX2Error(
            f"one clip is decoded at a time; got a batch of {samples.shape[0]}: choose one with Latent From Batch"
        )
    if samples.shape[1] != recipe.config.latent_channels:
        raise LTX2Error(
            f"a video latent must have {recipe.config.latent_channels} channels for this VAE; got {samples.shape[1]}: "
            "use latents made by LTX-2 nodes"
        )
    side = recipe.config.spatial_compression
    return pixel_frames(samples.shape[2]), samples.shape[3] * side, samples.shape[4] * side


def _checked(choice: str, tile_size: int, tile_frames: int) -> Tiling | None:
    """The tiles that are set; those of what is automatic are chosen by `_ready`. None: the clip in one piece."""
    if choice not in ("automatic", "off", "set"):
        raise LTX2Error(f"tiling must be automatic, off or set; got {choice}")
    return Tiling((tile_frames, 24), (tile_size, 64), (tile_size, 64)) if choice == "set" else None


def _ready(
    computation: Computation,
    samples: Any,
    recipe: VideoVAERecipe,
    size: tuple[int, int, int],
    tiling: tuple[str, Tiling | None],
) -> tuple[Any, Any, Tiling | None]:
    """The VAE, the latent where it computes, and the tiling, with room for all that is in memory at once."""
    choice, tiles = tiling
    if choice == "automatic":
        vae, tiles = borrow_for_whole(computation, recipe, size, decode_bytes)
    else:
        room = decode_bytes(recipe.config, size, tiles, computation.dtype)
        (vae,) = computation.borrow(recipe, activation_bytes=room)
    return vae, samples.to(computation.device, computation.dtype), tiles


class DecodeAudio(io.ComfyNode):
    """Sound from an audio latent: the audio VAE makes a spectrogram, the vocoder a waveform."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_DecodeAudio",
            display_name="LTX-2 Decode Audio",
            category="LTX-2/decoding",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("audio", tooltip="From LTX-2 Sample."),
                sockets.AudioVAE.Input("audio_vae", tooltip="From an LTX-2 loader."),
                sockets.Vocoder.Input("vocoder", tooltip="From an LTX-2 loader."),
            ],
            outputs=[io.Audio.Output("audio", display_name="audio")],
        )

    @classmethod
    def execute(cls, audio: Any, audio_vae: Any, vocoder: Any) -> Any:
        sockets.require(audio_vae, AudioVAERecipe, "audio_vae", "an LTX-2 loader")
        sockets.require(vocoder, VocoderRecipe, "vocoder", "an LTX-2 loader")
        samples = samples_of(audio, "audio")
        with Computation("decode audio") as computation:
            computation.on_step(0, 1)
            room = decode_sound_bytes(audio_vae.config, vocoder.config, samples.shape[2], computation.dtype)
            vae, voice = computation.borrow(audio_vae, vocoder, activation_bytes=room)
            sound = decode_sound(vae, voice, samples.to(computation.device, computation.dtype))
            computation.on_step(1, 1)
        return io.NodeOutput(sound)


class DecodeVideo(io.ComfyNode):
    """A video file from a video latent, with sound where it is connected. Frames go to the file as they are decoded."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_DecodeVideo",
            display_name="LTX-2 Decode Video",
            category="LTX-2/decoding",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", tooltip="From LTX-2 Sample."),
                sockets.VideoVAE.Input("video_vae", tooltip="From an LTX-2 loader."),
                io.Audio.Input("audio", optional=True, tooltip="Cut or padded with silence to the video's length."),
                io.Int.Input(
                    "crf",
                    default=19,
                    min=0,
                    max=51,
                    tooltip="H.264 quality: 0 (lossless) to 51; 19 is hard to tell from the original.",
                ),
                *widgets.tiling(),
            ],
            outputs=[io.Video.Output("video", display_name="video")],
        )

    @classmethod
    def execute(
        cls,
        video: Any,
        video_vae: Any,
        crf: int,
        tiling: str,
        tile_size: int,
        tile_frames: int,
        audio: Any = None,
    ) -> Any:
        sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        if audio is not None:
            waveform_of(audio)  # before minutes of decoding
        host = current()
        samples, clip = samples_of(video, "video"), clip_of(video)
        size, tiles = _size(samples, video_vae), _checked(tiling, tile_size, tile_frames)
        path = host.temp_file(".mp4")
        with Computation("decode video") as computation:
            vae, latent, tiles = _ready(computation, samples, video_vae, size, (tiling, tiles))
            decode_to_file(
                path,
                vae,
                latent,
                clip.frame_rate,
                audio,
                crf=crf,
                tiling=tiles,
                on_step=computation.on_step,
                check=host.check_cancelled,
            )
        return io.NodeOutput(host.video_from_file(path))


class DecodeImages(io.ComfyNode):
    """The frames of a video latent as images, all in memory at once (3 GB for 121 frames of 1920x1080)."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_DecodeImages",
            display_name="LTX-2 Decode Images",
            category="LTX-2/decoding",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", tooltip="From LTX-2 Sample."),
                sockets.VideoVAE.Input("video_vae", tooltip="From an LTX-2 loader."),
                *widgets.tiling(),
            ],
            outputs=[io.Image.Output("images", display_name="images")],
        )

    @classmethod
    def execute(cls, video: Any, video_vae: Any, tiling: str, tile_size: int, tile_frames: int) -> Any:
        sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        samples = samples_of(video, "video")
        size, tiles = _size(samples, video_vae), _checked(tiling, tile_size, tile_frames)
        done = 0
        with Computation("decode images") as computation:
            images = torch.empty(*size, 3)  # filled chunk by chunk: the whole clip is in memory once
            vae, latent, tiles = _ready(computation, samples, video_vae, size, (tiling, tiles))
            for frames in decode_frames(vae, latent, tiles, computation.on_step):
                images[done : done + len(frames)] = frames
                done += len(frames)
        return io.NodeOutput(images)


NODES = [DecodeAudio, DecodeVideo, DecodeImages]
