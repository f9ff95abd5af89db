"""Guides to conditions, with the networks that encode them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..ltx2 import latents
from ..ltx2.conditioning.guides import Encode, Guide
from ..ltx2.conditioning.reference_guides import AudioReference
from ..ltx2.conditioning.stage import Stage
from ..ltx2.encoding import encode_sound, waveform_of
from ..ltx2.media.audio import require_finite
from ..ltx2.recipe import AudioVAERecipe, VideoVAERecipe
from ..ltx2.runtime.estimates import encode_bytes, encode_sound_bytes
from ..ltx2.runtime.tiled_vae import encode_video
from ..ltx2.runtime.tiling import Tiling
from .computation import Computation
from .video_vae import borrow_for_whole


def with_pictures(video: Any, guides: tuple[Guide, ...], video_vae: VideoVAERecipe) -> Any:
    """The video LATENT with `guides` encoded for it; those of strength 0 are left out.

    Raises LTX2Error where one does not fit, before anything loads.
    """
    computation = Computation("encode guides")
    dtype = computation.dtype
    grid, clip = tuple(latents.samples_of(video, "video").shape[2:]), latents.clip_of(video)
    stage = Stage(grid, video_vae.image_crf, clip.continues, dtype)
    sizes = [guide.size(stage) for guide in guides]
    largest = max(sizes, key=lambda size: encode_bytes(video_vae.config, size, Tiling(), dtype), default=None)
    # Applied, they would free what a mask keeps, and add tokens that say nothing.
    guides = tuple(guide for guide in guides if guide.strength)
    if not guides:
        return video
    conditions = []
    with computation:
        vae, tiling = borrow_for_whole(computation, video_vae, largest, encode_bytes)
        for done, guide in enumerate(guides):
            encode = _encoder(vae, computation, tiling, lambda done=done: computation.on_step(done, len(guides)))
            conditions.append(guide.encoded(encode, stage))
        computation.on_step(len(guides), len(guides))
    return latents.with_conditions(video, tuple(conditions))


def with_voices(audio: Any, voices: tuple[AudioReference, ...], audio_vae: AudioVAERecipe | None) -> Any:
    """The audio LATENT with `voices` before it; those that are latents already need no `audio_vae`."""
    computation = Computation("encode voices")

    def encode(sound: dict[str, Any]) -> Tensor:
        waveform, rate = waveform_of(sound)
        length = -(-round(waveform.shape[-1] * audio_vae.config.latents_per_second) // rate)
        room = encode_sound_bytes(audio_vae.config, length, computation.dtype)
        (vae,) = computation.borrow(audio_vae, activation_bytes=room)
        return encode_sound(vae, sound, device=computation.device, dtype=computation.dtype)

    with computation:
        computation.on_step(0, len(voices))
        conditions = tuple(voice.encoded(encode) for voice in voices)
        computation.on_step(len(voices), len(voices))
    return latents.with_conditions(audio, conditions)


def _encoder(vae: Any, computation: Computation, tiling: Tiling, on_step: Callable[[], None]) -> Encode:
    """Pixels (1, 3, F, H, W), which stay where they are, to a latent; a few frames or a tile are moved at a time.

    It raises LTX2Error where the latent is not finite: of pictures that hold NaN, say.
    """

    def encode(pixels: Tensor) -> Tensor:
        latent = encode_video(
            vae,
            pixels,
            tiling,
            device=computation.device,
            dtype=computation.dtype,
            on_step=lambda _done, _total: on_step(),
        )
        require_finite(latent, "video VAE encode")
        return latent

    return encode
