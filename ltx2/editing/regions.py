"""Parts of a clip that are generated anew: a stretch of time, or what a mask shows. Everything else stays as it is.

Shapes: B batch, F latent frames, T audio latents, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..latents import Latent, audio_mask, clip_of, samples_of, video_mask
from ..tokens import audio_positions, video_positions
from .timeline import Pair, check_pair, continues, duration, time_range


def retake(
    video: Latent | None,
    audio: Latent | None,
    start: float,
    end: float,
    *,
    regenerate_video: bool = True,
    regenerate_audio: bool = True,
) -> Pair:
    """The clip with noise masks: 1 where a latent lies in [start, end) at least in part, 0 elsewhere.

    A modality that is not regenerated is kept from start to end. A mask that is there already is added to.

    Args:
        start, end: seconds. A negative start and an end of 0 or less count from the end of the clip.

    Raises:
        LTX2Error: nothing to regenerate; a range that the clip does not have; latents of two clips.
    """
    check_pair(video, audio)
    begin, stop = time_range(start, end, duration(video, audio))
    results: list[Latent | None] = [None, None]
    if video is not None:
        positions = video_positions(
            (_length(video, "video"), 1, 1), clip_of(video).frame_rate, continues=continues(video)
        )
        region = _region(positions[0, 0], begin, stop if regenerate_video else begin)
        results[0] = _with_mask(video, "video", region[None, None, :, None, None])
    if audio is not None:
        positions = audio_positions(_length(audio, "audio"), continues=continues(audio))
        region = _region(positions[0, 0], begin, stop if regenerate_audio else begin)
        results[1] = _with_mask(audio, "audio", region[None, None, :, None])
    if not any(bool(result["noise_mask"].any()) for result in results if result):
        raise LTX2Error(
            f"a retake must regenerate something; nothing that is connected is in {begin:.3f} to {stop:.3f} s with "
            f"regenerate video {regenerate_video} and regenerate audio {regenerate_audio}: turn one on and connect it"
        )
    return results[0], results[1]


def inpaint(video: Latent, mask: Tensor, audio: Latent | None = None) -> Pair:
    """The clip with `mask` ([F, H, W] or one picture [1, H, W]; 1 = generate) on its video; its sound is kept.

    Raises:
        LTX2Error: a mask of another length; one that is 0 everywhere; latents of two clips.
    """
    check_pair(video, audio)
    if not isinstance(mask, Tensor):
        raise LTX2Error(f"mask must be a MASK; got {type(mask).__name__}: connect a node that gives masks")
    samples = samples_of(video, "video")
    on_latents = video_mask(mask, tuple(samples.shape[2:]), samples.shape[0])
    if not on_latents.any():
        raise LTX2Error(
            f"a mask must show what is generated anew; this one ({list(mask.shape)}) is 0 in every latent: paint an "
            "area, or invert the mask"
        )
    kept = None if audio is None else _with_mask(audio, "audio", torch.zeros(1, 1, _length(audio, "audio"), 1))
    return _with_mask(video, "video", on_latents), kept


def _region(bounds: Tensor, start: float, end: float) -> Tensor:
    """(N,) of bounds (N, 2) in seconds: 1 where they meet [start, end), which is empty where the two are equal."""
    meets = (bounds[:, 1] > start) & (bounds[:, 0] < end)
    return (meets & (end > start)).float()


def _with_mask(latent: Latent, what: str, mask: Tensor) -> Latent:
    samples, own = samples_of(latent, what), latent.get("noise_mask")
    if own is not None and what == "video":
        mask = torch.maximum(mask, video_mask(own, tuple(samples.shape[2:]), samples.shape[0]))
    elif own is not None:
        mask = torch.maximum(mask, audio_mask(own, samples.shape[2], samples.shape[0]))
    return {**latent, "noise_mask": mask}


def _length(latent: Latent, what: str) -> int:
    return samples_of(latent, what).shape[2]
