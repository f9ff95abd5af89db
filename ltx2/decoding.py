"""Latents to frames and sound; frames go to their file as they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .media.audio import require_finite
from .media.background import Background
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
# Of so many frames that may wait for the encoder, 3 MB each at 1920x1088.
_WRITES_WAITING = 4


def decode_frames(vae: VideoVAE, latent: Tensor, tiling: Tiling | None, on_step: OnStep | None) -> Iterator[Tensor]:
    """Chunks of frames (n, H, W, 3) in [0, 1], fp32 on the CPU, in order, of a latent [1, C, F, H, W]."""
    for chunk in _decoded(vae, latent, tiling, on_step):
        yield _pictures(chunk.cpu())


def _decoded(vae: VideoVAE, latent: Tensor, tiling: Tiling | None, on_step: OnStep | None) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)  # only decoders with timestep conditioning draw from it
    return decode_video(vae, latent, tiling, generator=generator, on_step=on_step)


def _pictures(chunk: Tensor) -> Tensor:
    """(1, C, n, H, W) of about [-1, 1] -> (n, H, W, C) in [0, 1], fp32, where it is.

    Raises LTX2Error for what is not finite: clipped, the infinite would be white or black.
    """
    require_finite(chunk, "video decode")
    return rearrange(((chunk.float() + 1) / 2).clamp_(0, 1), "1 c n h w -> n h w c")


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

    Frames leave the device as the encoder takes them, in 8 bits, and are encoded in a thread while the next ones are
    decoded; a few may wait for it. `check` is called before every few of them; it may raise to stop. Whatever is
    raised, in either thread, ends both and leaves no file.
    """
    _, height, width = vae.config.compression
    size = latent.shape[4] * width, latent.shape[3] * height
    sound = None if audio is None else (audio["waveform"][0].float().cpu(), int(audio["sample_rate"]))
    with (
        VideoWriter(path, *size, frame_rate, crf=crf, audio=sound) as writer,
        Background(writer.write_planes, _WRITES_WAITING, "ltx2 video writer") as encoder,
    ):
        for chunk in _decoded(vae, latent, tiling, on_step):
            for few in chunk.split(_FRAMES_PER_WRITE, dim=2):
                check()
                encoder.put(writer.planes(_pictures(few)))


def decode_sound(vae: AudioVAE, vocoder: Vocoder, latent: Tensor) -> dict[str, Any]:
    """ComfyUI's AUDIO of an audio latent [B, C, T, bins]: waveform [B, channels, samples] fp32 on the CPU."""
    mel = vae.decode(latent)
    require_finite(mel, "audio VAE decode")
    waveform = vocoder(mel).float().cpu()
    require_finite(waveform, "vocoder")
    return {"waveform": waveform, "sample_rate": vocoder.sample_rate}
