"""Latents to frames and sound; frames go to their file as they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .media.audio import require_finite
from .media.writer import VideoWriter
from .networks.audio_vae.model import AudioVAE
from .networks.video_vae.model import VideoVAE
from .networks.vocoder.model import Vocoder
from .packages import rearrange
from .runtime.tiled_vae import decode_video
from .runtime.tiling import Tiling

OnStep = Callable[[int, int], None]
# Between two looks at whether the user has cancelled: large ones take a tenth of a second to write.
_FRAMES_PER_WRITE = 4


def decode_frames(vae: VideoVAE, latent: Tensor, tiling: Tiling | None, on_step: OnStep | None) -> Iterator[Tensor]:
    """Chunks of frames (n, H, W, 3) in [0, 1], fp32 on the CPU, in order, of a latent [1, C, F, H, W]."""
    generator = torch.Generator().manual_seed(0)  # only decoders with timestep conditioning draw from it
    for chunk in decode_video(vae, latent, tiling, generator=generator, on_step=on_step):
        frames = rearrange(chunk.float().cpu(), "1 c n h w -> n h w c")
        require_finite(frames, "video decode")
        yield ((frames + 1) / 2).clamp(0, 1)


def decode_to_file(
    path: Path,
    vae: VideoVAE,
    latent: Tensor,
    frame_rate: float,
    audio: dict[str, Any] | None,
    *,
    crf: int,
    tiling: Tiling | None,
    on_step: OnStep | None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Decode into an mp4 at `path` (with `audio`, ComfyUI's AUDIO); no more frames in memory than a chunk.

    `check` is called before every few frames that are written; it may raise to stop, and leaves no file then.
    """
    _, height, width = vae.config.compression
    size = latent.shape[4] * width, latent.shape[3] * height
    sound = None if audio is None else (audio["waveform"][0].float().cpu(), int(audio["sample_rate"]))
    with VideoWriter(path, *size, frame_rate, crf=crf, audio=sound) as writer:
        for frames in decode_frames(vae, latent, tiling, on_step):
            for few in frames.split(_FRAMES_PER_WRITE):
                check()
                writer.write(few)


def decode_sound(vae: AudioVAE, vocoder: Vocoder, latent: Tensor) -> dict[str, Any]:
    """ComfyUI's AUDIO of an audio latent [B, C, T, bins]: waveform [B, channels, samples] fp32 on the CPU."""
    mel = vae.decode(latent)
    require_finite(mel, "audio VAE decode")
    waveform = vocoder(mel).float().cpu()
    require_finite(waveform, "vocoder")
    return {"waveform": waveform, "sample_rate": vocoder.sample_rate}
