"""ComfyUI's audio-video LATENT and our two: whatever one can say exactly is said in the other, the rest is refused.

ComfyUI holds the samples of video and sound side by side in one value, and so it does with masks; one alone is plain.
Whoever knows its class for that wraps the tensors which are told here.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T audio latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..geometry import check_frame_rate
from ..latents import KEY, Clip, Latent, is_unfinished, samples_of, states_of
from ..tokens import TokenState, unflatten_audio, unflatten_video

_MODALITIES = {5: "video", 4: "audio"}
_KEPT = ("batch_index",)


@dataclass(frozen=True, eq=False)
class Streams:
    """What a LATENT of ComfyUI holds, video before sound.

    Attributes:
        samples: [B, C, F, H, W] and [B, C, T, bins], or one of them.
        masks: [B, 1, F, H, W] and [B, 1, T, 1], 1 = generate; None where everything is generated.
    """

    samples: tuple[Tensor, ...]
    masks: tuple[Tensor, ...] | None = None


def to_streams(video: Latent | None, audio: Latent | None) -> tuple[Streams, Latent]:
    """Our LATENTs as ComfyUI's, and what else the LATENT is to hold: the frame rate, under our key.

    What a clip keeps and guides that take the place of its frames become samples and masks.

    Raises:
        LTX2Error: something that no LATENT of ComfyUI can say: guides and references beside the clip, noise of a run
            that has not ended, a clip that continues a longer one; or what `states_of` refuses.
    """
    states = states_of(video, audio)
    for name, latent, state in zip(("video", "audio"), (video, audio), states, strict=True):
        if latent is not None and state is not None:
            _check_can_travel(name, latent, state)
    samples, masks = [], []
    if states[0] is not None and video is not None:
        grid = tuple(video["samples"].shape[2:])
        samples.append(unflatten_video(states[0].clean, grid))
        masks.append(unflatten_video(states[0].mask, grid))
    if states[1] is not None and audio is not None:
        samples.append(unflatten_audio(states[1].clean, audio["samples"].shape[1]))
        masks.append(unflatten_audio(states[1].mask, 1))
    is_partial = any(bool((mask < 1).any()) for mask in masks)
    first = video or audio or {}
    extra = {name: first[name] for name in _KEPT if name in first}
    if isinstance(first.get(KEY), Clip):
        extra[KEY] = first[KEY].spent()
    return Streams(tuple(samples), tuple(masks) if is_partial else None), extra


def _check_can_travel(name: str, latent: Latent, state: TokenState) -> None:
    clip = latent.get(KEY)
    if is_unfinished(latent):
        raise LTX2Error(
            f"a {name} latent must be clean; the run that made it stopped above 0, and its noise means something else "
            "in ComfyUI: let LTX-2 Sample end the run first"
        )
    if state.num_appended:
        kinds = sorted({type(condition).__name__ for condition in clip.conditions}) if isinstance(clip, Clip) else []
        raise LTX2Error(
            f"guides beside the clip cannot go with a LATENT of ComfyUI; the {name} latent has {', '.join(kinds)}: "
            "connect it to LTX-2 Guider to ComfyUI, or use ComfyUI's own LTXVAddGuide"
        )
    if isinstance(clip, Clip) and clip.continues:
        raise LTX2Error(
            f"a {name} latent must begin with a single frame; this one was cut out of a longer clip, which no LATENT "
            "of ComfyUI can say: connect it to LTX-2 Guider to ComfyUI, or keep its beginning with LTX-2 Trim Latents"
        )


def streams_of(latent: Any) -> Streams:
    """The streams of a LATENT of ComfyUI, nested or plain, fp32 on the CPU; masks as they are.

    Raises:
        LTX2Error: no LATENT, or samples of anything but a video, a sound, or a video and its sound.
    """
    samples = latent.get("samples") if isinstance(latent, dict) else None
    tensors = unbound(samples)
    kinds = [_MODALITIES.get(each.ndim) if isinstance(each, Tensor) else None for each in tensors]
    if kinds not in (["video"], ["audio"], ["video", "audio"]):
        got = [list(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in tensors]
        raise LTX2Error(
            "latent must hold a video [batch, channels, frames, height, width], a sound [batch, channels, time, bins], "
            f"or both in this order; got {got}: connect an LTX-2 latent"
        )
    mask = latent.get("noise_mask")
    masks = None if mask is None else tuple(each.cpu() for each in unbound(mask)[: len(tensors)])
    return Streams(tuple(each.float().cpu() for each in tensors), masks)


def from_streams(latent: Any, frame_rate: float = 0.0) -> tuple[Latent | None, Latent | None]:
    """ComfyUI's LATENT as our (video, audio). Keys of other packs, which mean the whole or the other one, stay behind.

    Args:
        frame_rate: frames per second; 0 for the one that the latent carries, where it was ours before.

    Raises:
        LTX2Error: no frame rate; a mask that drops tokens (below 0), or one that differs within a moment of sound; or
            what `streams_of` refuses.
    """
    streams = streams_of(latent)
    clip = _clip(latent, frame_rate)
    results: dict[str, Latent] = {}
    for number, samples in enumerate(streams.samples):
        name = _MODALITIES[samples.ndim]
        result = {"samples": samples, **{key: latent[key] for key in _KEPT if key in latent}}
        if clip is not None:
            result[KEY] = clip
        if streams.masks is not None and number < len(streams.masks):
            mask = _mask(name, streams.masks[number])
            result |= {} if bool((mask == 1).all()) else {"noise_mask": mask}
        samples_of(result, name)
        results[name] = result
    if "video" in results and clip is None:
        raise LTX2Error("a video latent must have a frame rate; the latent carries none: set frame_rate")
    return results.get("video"), results.get("audio")


def unbound(value: Any) -> tuple[Any, ...]:
    """The tensors of a nested value, or a plain one alone."""
    return tuple(value.unbind()) if getattr(value, "is_nested", False) else (value,)


def _clip(latent: Latent, frame_rate: float) -> Clip | None:
    if frame_rate:
        check_frame_rate(frame_rate)
        return Clip(frame_rate)
    clip = latent.get(KEY)
    return clip.spent() if isinstance(clip, Clip) else None


def _mask(name: str, mask: Tensor) -> Tensor:
    if bool((mask < 0).any()):
        raise LTX2Error(
            f"a {name} mask must be 0 to 1; got {float(mask.min()):g}, with which ComfyUI's guides drop tokens: remove "
            "the guides first (LTXVCropGuides)"
        )
    if mask.ndim == 5 and mask.shape[1] > 1:
        mask = _first(name, mask, 1)
    if name == "audio" and mask.ndim == 4:
        mask = _first(name, _first(name, mask, 1), 3)
    return mask


def _first(name: str, mask: Tensor, axis: int) -> Tensor:
    """`mask` with one entry on `axis`, where all of them are equal."""
    first = mask.narrow(axis, 0, 1)
    if not torch.equal(first.expand_as(mask), mask):
        what = "channels" if axis == 1 else "frequencies"
        raise LTX2Error(
            f"a {name} mask must be the same for all {what}; it is not: make it for moments and places only"
        )
    return first
