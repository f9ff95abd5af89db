"""CONDITIONING of ComfyUI's LTX-2 model and our Context, in both forms that its versions know.

After the connectors: the video's and the audio's context side by side, 1024 slots; every version takes it. Before them:
the features of the prompt's own tokens, flagged; ComfyUI's transformer then runs the connectors itself.

Shapes: B batch, T tokens of the prompt, S slots of a context, V/A width of the video/audio features and contexts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config.text import ConnectorsConfig
from ..errors import LTX2Error
from ..networks.text.encoder import TextEncoder
from ..sampling.denoiser import Context

UNPROCESSED = "unprocessed_ltxav_embeds"
#: ComfyUI's LTX-2 model takes this one where a CONDITIONING states none.
DEFAULT_FRAME_RATE = 25.0
# What a CONDITIONING may say beside the prompt without a change of what the prompt means.
_HARMLESS = {"pooled_output", "attention_mask", "frame_rate", UNPROCESSED, "uuid"}
_NEUTRAL: dict[str, Any] = {"start_percent": 0.0, "end_percent": 1.0, "strength": 1.0}

Conditioning = list[list[Any]]


def to_conditioning(context: Context, frame_rate: float) -> Conditioning:
    """A prompt after the connectors: (1, S, V + A), fp32."""
    return _conditioning(torch.cat((context.video, context.audio), -1), frame_rate, {})


def unprocessed(features: tuple[Tensor, Tensor], frame_rate: float) -> Conditioning:
    """A prompt before the connectors: (1, T, V + A), or (1, T, V) where its video and audio `features` are one."""
    video, audio = features
    tensor = video if audio is video else torch.cat(features, -1)
    return _conditioning(tensor, frame_rate, {UNPROCESSED: True})


def _conditioning(tensor: Tensor, frame_rate: float, flags: dict[str, Any]) -> Conditioning:
    return [[tensor.float().cpu(), {"pooled_output": None, "frame_rate": float(frame_rate), **flags}]]


def features(encoder: TextEncoder, prompt: str, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What the connectors read of `prompt`: (1, T, V) and (1, T, A), which are one tensor in 2.0."""
    tokens = encoder.tokenizer(prompt).to(device)
    return encoder.connectors.projection(encoder.gemma(tokens, dtype))


@dataclass(frozen=True, eq=False)
class Read:
    """A CONDITIONING that was read.

    Attributes:
        video, audio: (1, S, V) and (1, S, A) contexts, or (1, T, V) and (1, T, A) features before the connectors.
        needs_connectors: Whether they are features.
        frame_rate: What it states, or what ComfyUI takes in its place.
    """

    video: Tensor
    audio: Tensor
    needs_connectors: bool
    frame_rate: float

    def context(self) -> Context:
        return Context(self.video, self.audio)

    def connected(self, encoder: TextEncoder, device: torch.device, dtype: torch.dtype) -> Context:
        """The contexts that the connectors of `encoder` make of the features."""
        connectors = encoder.connectors
        video, audio = connectors.video(self.video.to(device, dtype)), connectors.audio(self.audio.to(device, dtype))
        return Context(video.cpu(), audio.cpu())


def read(conditioning: Any, config: ConnectorsConfig) -> Read:
    """The one prompt of a CONDITIONING for the model whose connectors have `config`.

    Raises:
        LTX2Error: no CONDITIONING, or several prompts in one; a prompt of another model; anything beside the prompt
            that would be lost (guides, areas, a time range, hooks).
    """
    tensor, options = _single(conditioning)
    _check_options(options)
    widths = (config.video_dim, config.audio_dim)
    is_flagged = bool(options.get(UNPROCESSED, False))
    # As ComfyUI's model reads it: features that both connectors share are known by their width, too.
    is_shared = not config.has_separate_projections and tensor.shape[-1] == widths[0]
    if tensor.shape[-1] != sum(widths) and not is_shared:
        raise LTX2Error(
            f"conditioning must be {sum(widths)} wide for this text encoder"
            f"{'' if config.has_separate_projections else f', or {widths[0]} before its connectors'}; got "
            f"{tensor.shape[-1]}: encode the prompt with the text encoder of the same release"
        )
    if is_flagged and not is_shared and not config.has_separate_projections:
        raise LTX2Error(
            f"conditioning before the connectors must be {widths[0]} wide for this text encoder; got "
            f"{tensor.shape[-1]}: encode the prompt with the text encoder of the same release"
        )
    needs_connectors = is_flagged or is_shared
    tensor = _real_tokens(tensor, options.get("attention_mask"), needs_connectors)
    video, audio = (tensor, tensor) if is_shared else tensor.split(widths, -1)
    frame_rate = options.get("frame_rate")
    frame_rate = DEFAULT_FRAME_RATE if frame_rate is None else float(frame_rate)
    return Read(video, audio, needs_connectors, frame_rate)


def _single(conditioning: Any) -> tuple[Tensor, dict[str, Any]]:
    is_list = isinstance(conditioning, list | tuple)
    if not is_list or len(conditioning) != 1:
        got = f"{len(conditioning)} of them" if is_list else type(conditioning).__name__
        raise LTX2Error(
            f"conditioning must be a CONDITIONING with one prompt; got {got}: connect CLIP Text Encode directly"
        )
    entry = conditioning[0] if isinstance(conditioning[0], list | tuple) else ()
    tensor, options = entry if len(entry) == 2 else (entry, None)
    if not isinstance(tensor, Tensor) or tensor.ndim != 3 or tensor.shape[0] != 1 or not isinstance(options, dict):
        got = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise LTX2Error(f"conditioning must be one prompt [1, tokens, width]; got {got}: encode one prompt at a time")
    return tensor.float().cpu(), options


def _check_options(options: dict[str, Any]) -> None:
    lost = sorted(
        name
        for name, value in options.items()
        if name not in _HARMLESS and value is not None and value != _NEUTRAL.get(name)
    )
    if lost:
        raise LTX2Error(
            f"conditioning must be a prompt and nothing else; it also says {', '.join(lost)}, which would be lost: "
            "connect it before the nodes that add them, and use LTX-2 guides"
        )


def _real_tokens(tensor: Tensor, mask: Any, needs_connectors: bool) -> Tensor:
    """The tokens of (1, T, D) that a mask (1, T) leaves."""
    if mask is None or bool(mask.bool().all()):
        return tensor
    if not needs_connectors or mask.numel() != tensor.shape[1]:
        raise LTX2Error(
            f"an attention mask must go with a prompt before the connectors, one value for each of its "
            f"{tensor.shape[1]} tokens; got {list(mask.shape)}: encode the prompt again"
        )
    return tensor[:, mask.flatten().bool()]
