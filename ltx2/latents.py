"""What a ComfyUI LATENT means here: plain samples, an optional noise mask, and one key of ours.

`samples` is where sampling starts; sizes always come from its shape. `noise_mask` (1 = generate) alone means that what
is kept is `samples` itself. The key `ltx2` carries what no shape can say: the frame rate, and conditions that keep
clean latents of their own. Foreign nodes may drop it.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T audio latents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .conditioning.checks import check_mask
from .conditioning.frames import Condition
from .errors import LTX2Error
from .geometry import PIXELS_PER_LATENT, Canvas, audio_latents, check_frame_rate, pixel_frames
from .sampling.partial import KEY as RUN_KEY
from .sampling.sample import States
from .tokens import TokenState, audio_state, unflatten_audio, unflatten_video, video_state

KEY = "ltx2"
VIDEO_CHANNELS = 128
AUDIO_CHANNELS, AUDIO_BINS = 8, 16
_SET_RATE = "add LTX-2 Set Frame Rate"
# How much faster a video may be than the sound that was sampled with it before.
_TEMPORAL_UPSAMPLING = (2.0, 4.0)

Latent = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Clip:
    """What our key of a LATENT carries.

    Attributes:
        continues: The latent was cut out of a longer one: its first latent is a full one (8 frames, or 4 mel frames of
            sound), not the single frame that a clip begins with. Time 0 stays where that single frame would begin.
    """

    frame_rate: float
    conditions: tuple[Condition, ...] = ()
    continues: bool = False

    def __repr__(self) -> str:
        kind = ", continues" if self.continues else ""
        return f"<{self.frame_rate:g} fps, {len(self.conditions)} conditions{kind}>"

    def spent(self) -> Clip:
        """This clip without its conditions."""
        return replace(self, conditions=())


def empty(canvas: Canvas, shrink: int) -> tuple[Latent, Latent]:
    """(video, audio) latents of zeros at 1/shrink of the canvas."""
    clip = Clip(canvas.frame_rate)
    video = torch.zeros(canvas.video_shape(VIDEO_CHANNELS, shrink))
    audio = torch.zeros(canvas.audio_shape(AUDIO_CHANNELS, AUDIO_BINS))
    return {"samples": video, KEY: clip}, {"samples": audio, KEY: clip}


def samples_of(latent: Any, what: str) -> Tensor:
    """The samples of a "video" [B, C, F, H, W] or "audio" [B, C, T, bins] LATENT. Raises LTX2Error for another one."""
    samples = latent.get("samples") if isinstance(latent, dict) else None
    dims = {"video": 5, "audio": 4}[what]
    if not isinstance(samples, Tensor):
        raise LTX2Error(
            f"{what} latent must be a LATENT with plain samples; got {type(samples).__name__}: separate audio-video "
            "latents of other packs first"
        )
    if samples.ndim != dims:
        axes = "[batch, channels, frames, height, width]" if what == "video" else "[batch, channels, time, bins]"
        raise LTX2Error(f"{what} latent must be {axes}; got {list(samples.shape)}: are video and audio swapped?")
    return samples


def clip_of(latent: Latent) -> Clip:
    """Our key. Raises LTX2Error where a foreign node has dropped it."""
    clip = latent.get(KEY) if isinstance(latent, dict) else None
    if not isinstance(clip, Clip):
        raise LTX2Error(
            f"the latent must carry its frame rate; it has none: {_SET_RATE} behind the node that dropped it"
        )
    return clip


def is_unfinished(latent: Latent) -> bool:
    """Whether the run that made a LATENT stopped above 0: its samples are noisy, and another run goes on from them."""
    return RUN_KEY in latent


def canvas_of(video: Latent) -> Canvas:
    """The size, length and frame rate that a video latent decodes to. Raises LTX2Error where the rate is missing."""
    frames, height, width = samples_of(video, "video").shape[2:]
    size = width * PIXELS_PER_LATENT, height * PIXELS_PER_LATENT
    return Canvas(*size, pixel_frames(frames), clip_of(video).frame_rate)


def with_frame_rate(latent: Latent, frame_rate: float) -> Latent:
    """A copy of `latent` at another frame rate; its conditions stay."""
    check_frame_rate(frame_rate)
    if not isinstance(latent, dict) or "samples" not in latent:
        raise LTX2Error(f"latent must be a LATENT; got {type(latent).__name__}: connect a latent")
    clip = latent.get(KEY)
    clip = replace(clip, frame_rate=frame_rate) if isinstance(clip, Clip) else Clip(frame_rate)
    return {**latent, KEY: clip}


def with_conditions(latent: Latent, conditions: tuple[Condition, ...]) -> Latent:
    """A copy of `latent` with conditions added to those it has."""
    clip = clip_of(latent)
    return {**latent, KEY: replace(clip, conditions=(*clip.conditions, *conditions))}


def conditions_of(*latents: Latent | None) -> tuple[Condition, ...]:
    """The conditions of all of them; a LATENT without our key has none."""
    clips = (latent.get(KEY) for latent in latents if latent is not None)
    return tuple(condition for clip in clips if isinstance(clip, Clip) for condition in clip.conditions)


def states_of(video: Latent | None, audio: Latent | None) -> States:
    """The token states of a video and an audio LATENT; None stays None.

    Raises:
        LTX2Error: neither is there; no frame rate; the two disagree in frame rate or length.
    """
    if video is None and audio is None:
        raise LTX2Error("a video or an audio latent must be connected; got neither: connect LTX-2 Empty Latents")
    if video is not None and audio is not None:
        _check_same_clip(video, audio)
    return (
        None if video is None else _video_state(video),
        None if audio is None else _audio_state(audio),
    )


def latents_of(states: States, video: Latent | None, audio: Latent | None) -> tuple[Latent | None, Latent | None]:
    """New LATENTs with the clip's own tokens of sampled `states`; without masks and conditions, which are spent."""
    results: list[Latent | None] = [None, None]
    if states[0] is not None and video is not None:
        grid = video["samples"].shape[2:]
        results[0] = {
            "samples": unflatten_video(states[0].targets(), tuple(grid)),
            KEY: clip_of(video).spent(),
        }
    if states[1] is not None and audio is not None:
        results[1] = {"samples": unflatten_audio(states[1].targets(), audio["samples"].shape[1])}
        if isinstance(audio.get(KEY), Clip):
            results[1][KEY] = audio[KEY].spent()
    return results[0], results[1]


def _video_state(latent: Latent) -> TokenState:
    samples, clip = _as_state(samples_of(latent, "video")), clip_of(latent)
    grid = tuple(samples.shape[2:])
    mask = latent.get("noise_mask")
    mask = None if mask is None else video_mask(mask, grid, samples.shape[0])
    state = video_state(samples, clip.frame_rate, mask, continues=clip.continues)
    return _conditioned(state, clip, grid)


def _audio_state(latent: Latent) -> TokenState:
    samples, mask = _as_state(samples_of(latent, "audio")), latent.get("noise_mask")
    mask = None if mask is None else audio_mask(mask, samples.shape[2], samples.shape[0])
    clip = latent.get(KEY)
    if not isinstance(clip, Clip):  # sound needs no frame rate
        return audio_state(samples, mask)
    return _conditioned(audio_state(samples, mask, continues=clip.continues), clip, (samples.shape[2],))


def _as_state(tensor: Tensor) -> Tensor:
    """`tensor` as sampling keeps its state: fp32, on the CPU. Others have it elsewhere (--gpu-only) or in 16 bits."""
    return tensor.to("cpu", torch.float32)


def _conditioned(state: TokenState, clip: Clip, grid: tuple[int, ...]) -> TokenState:
    for condition in clip.conditions:
        state = condition.apply(state, grid, clip.frame_rate)
    return state


def video_mask(mask: Tensor, grid: tuple[int, ...], batch: int = 1) -> Tensor:
    """A noise mask [B, 1, F, h, w], [B, 1, F, 1, 1], [B, 1, H, W] or [F, H, W] (pixels) as [B, 1, F, h, w].

    ComfyUI's nodes also deliver one picture for each frame as [F, 1, H, W].
    """
    counts = (1, grid[0], pixel_frames(grid[0]))
    mask = _as_state(mask)
    if mask.ndim == 3:
        mask = mask[None, None]
    elif mask.ndim == 4 and mask.shape[0] != batch and mask.shape[0] in counts:
        mask = mask.transpose(0, 1)[:, None] if mask.shape[1] == 1 else mask
    elif mask.ndim == 4:
        mask = mask[:, :, None]
    if mask.ndim != 5 or mask.shape[1] != 1 or mask.shape[0] not in (1, batch) or not mask.numel():
        raise LTX2Error(
            f"a video mask must be [F, H, W], [{batch}, 1, H, W] or [{batch}, 1, F, H, W]; got {list(mask.shape)}: "
            "make it for this latent"
        )
    frames = mask.shape[2]
    if frames not in counts:
        raise LTX2Error(f"a video mask must have {counts[0]}, {counts[1]} or {counts[2]} frames; got {frames}: cut it")
    if frames == counts[2] != counts[1]:
        # A latent is generated as soon as one of its frames is.
        mask = torch.cat((mask[:, :, :1], F.max_pool3d(mask[:, :, 1:], (8, 1, 1))), 2)
    if mask.shape[3:] not in ((1, 1), grid[1:]):
        # And as soon as one of its pixels is: a small mark must not fall between the centres of the cells.
        mask = F.adaptive_max_pool3d(mask, (mask.shape[2], *grid[1:]))
    return _few_levels(mask)


def audio_mask(mask: Tensor, length: int, batch: int = 1) -> Tensor:
    """A noise mask [B, 1, T, 1] or [B, T] as [B, 1, T, 1]."""
    mask = _as_state(mask)
    if mask.ndim == 2:
        mask = mask[:, None, :, None]
    sizes = (1, batch), (1,), (1, length), (1,)
    if mask.ndim != 4 or any(size not in fitting for size, fitting in zip(mask.shape, sizes, strict=True)):
        raise LTX2Error(
            f"an audio mask must be [{batch}, 1, {length}, 1] or [{batch}, {length}], one value for each latent; got "
            f"{list(mask.shape)}: pixel masks mean nothing for sound"
        )
    return _few_levels(mask)


def _few_levels(mask: Tensor) -> Tensor:
    """`mask` in the 256 steps of an 8-bit picture. Raises LTX2Error where it holds NaN.

    The transformer keeps rows for every level that occurs, and a feathered mask would have one for every token.
    """
    check_mask(mask)
    return torch.round(mask.clamp(0, 1) * 255) / 255


def _check_same_clip(video: Latent, audio: Latent) -> None:
    samples, sound, rate = samples_of(video, "video"), samples_of(audio, "audio"), clip_of(video).frame_rate
    if samples.shape[0] != sound.shape[0]:
        raise LTX2Error(
            f"video and audio must be equally many; got batches of {samples.shape[0]} and {sound.shape[0]}: make both "
            "with one LTX-2 Empty Latents"
        )
    other = audio.get(KEY)
    times = rate / other.frame_rate if isinstance(other, Clip) else 1.0
    if times not in (1.0, *_TEMPORAL_UPSAMPLING):
        raise LTX2Error(f"video and audio must have one frame rate; got {rate:g} and {other.frame_rate:g}: {_SET_RATE}")
    frames, length = pixel_frames(samples.shape[2]), sound.shape[2]
    expected = max(1, audio_latents(frames, rate))
    # Doubling in time turns F frames into 2F - 1: half a frame is lost, which can be the difference of one latent. So
    # can be the rounding of where a longer clip was cut.
    if abs(expected - length) > (times != 1.0 or clip_of(video).continues):
        raise LTX2Error(
            f"video and audio must be equally long; {frames} frames at {rate:g} per second need {expected} audio "
            f"latents, got {length}: make both with one LTX-2 Empty Latents"
        )
