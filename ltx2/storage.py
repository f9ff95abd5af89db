"""Latents and encoded prompts in safetensors files, exactly as they were: values, masks, conditions, frame rate.

A file holds tensors under numbers, and in its metadata what it is, the version of this layout, a digest, and a JSON
tree: dicts with "tensor" stand for tensors, dicts with "kind" for values of the classes in the table below, lists for
tuples.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .conditioning.frames import AppendedFrames, ReplacedFrames
from .conditioning.references import ReferenceSound, ReferenceVideo
from .conditioning.slots import KeyframeSlots
from .errors import LTX2Error
from .geometry import check_frame_rate
from .latents import KEY, RUN_KEY, Clip, Latent, clip_of, samples_of
from .media.partial_file import partial_file
from .packages import safetensors, safetensors_torch
from .sampling.denoiser import Context
from .sampling.partial import Unfinished

logger = logging.getLogger("ltx2")

VERSION = "1"
LATENTS, CONDITIONING = "comfyui-ltx2 latents", "comfyui-ltx2 conditioning"
_SAVED_BY = {LATENTS: "LTX-2 Save Latents", CONDITIONING: "LTX-2 Save Conditioning"}
#: The values that files may hold besides tensors, texts and numbers.
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Clip, Context, Unfinished),
        *(ReplacedFrames, AppendedFrames, ReferenceVideo, ReferenceSound, KeyframeSlots),
    )
}
_PLAIN = (bool, int, float, str, type(None))
_OWN_KEYS = ("samples", "noise_mask", KEY, RUN_KEY)


def save_latents(path: Path, video: Latent | None, audio: Latent | None) -> None:
    """Write a video and an audio LATENT with their masks, frame rate and conditions, and what unfinished runs left.

    Raises:
        LTX2Error: neither is there; a condition that no file can hold; a folder that cannot be written to.
    """
    if video is None and audio is None:
        raise LTX2Error("a video or an audio latent must be connected; got neither: connect what is to be saved")
    content = {}
    for what, latent in (("video", video), ("audio", audio)):
        if latent is not None:
            samples_of(latent, what)
            content[what] = {key: latent[key] for key in _OWN_KEYS if latent.get(key) is not None}
            if others := sorted(set(latent) - set(_OWN_KEYS)):
                logger.warning("of the %s latent, %s is not saved: another pack's", what, ", ".join(others))
    _write(path, LATENTS, content)


def load_latents(path: Path) -> tuple[Latent | None, Latent | None]:
    """(video, audio) LATENTs as they were saved; None for what was not.

    Raises:
        LTX2Error: no file of `save_latents`, or of another version of it.
    """
    content = _read(path, LATENTS)
    pair = content.get("video"), content.get("audio")
    if pair == (None, None):
        raise _damaged(path, "there is no latent in it")
    for what, latent in zip(("video", "audio"), pair, strict=True):
        if latent is not None:
            samples_of(latent, what)
        if latent is not None and KEY in latent:
            check_frame_rate(clip_of(latent).frame_rate)
    return pair


def save_context(path: Path, context: Context) -> None:
    """Write an encoded prompt. Raises LTX2Error where the folder cannot be written to."""
    _write(path, CONDITIONING, {"context": context})


def load_context(path: Path) -> Context:
    """An encoded prompt as it was saved. Raises LTX2Error for a file of anything else, or of another version."""
    context = _read(path, CONDITIONING).get("context")
    tensors = (context.video, context.audio) if isinstance(context, Context) else (None,)
    if not all(isinstance(each, Tensor) and each.ndim == 3 for each in tensors):
        raise _damaged(path, "there is no prompt in it")
    return context


def _write(path: Path, kind: str, content: dict[str, Any]) -> None:
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_packed(content, tensors))
    metadata = {"format": kind, "version": VERSION, "content": text, "digest": digest_of(text, tensors)}
    with partial_file(path) as temporary:
        try:
            safetensors_torch.save_file(tensors, temporary, metadata)
        except (OSError, safetensors.SafetensorError) as error:
            raise LTX2Error(
                f"the output folder must be writable, with room for the file; writing {path} failed ({error}): make "
                "room, check the permissions, or save to another folder"
            ) from error


def digest_of(content: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of what a file holds, in hexadecimal digits: a flipped bit would be sampled from unseen."""
    digest = hashlib.sha256(content.encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON has it; its tensors go to `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"latent": {key: _packed(one, tensors) for key, one in value.items()}}
    if isinstance(value, tuple):
        return [_packed(one, tensors) for one in value]
    if type(value) in KINDS.values():
        packed = {field.name: _packed(getattr(value, field.name), tensors) for field in fields(value)}
        return {"kind": type(value).__name__, "fields": packed}
    if isinstance(value, _PLAIN):
        return value
    raise LTX2Error(
        f"a file can hold tensors, numbers and {', '.join(KINDS)}; got {type(value).__name__}: save before it is added"
    )


def _read(path: Path, kind: str) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            _check_format(path, kind, metadata)
            # Copies: what is mapped would change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise LTX2Error(
            f"{path.name} must be a file of {_SAVED_BY[kind]}; it cannot be read ({error}): choose another"
        ) from error
    try:
        if metadata["digest"] != digest_of(metadata["content"], tensors):
            raise ValueError("its content is not what was written")
        content = _unpacked(json.loads(metadata["content"]), tensors)
        return dict(content.items())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, repr(error)) from error


def _check_format(path: Path, kind: str, metadata: dict[str, str]) -> None:
    found = metadata.get("format", "")
    if found != kind:
        raise LTX2Error(
            f"{path.name} must be a file of {_SAVED_BY[kind]}; it is one of "
            f"{_SAVED_BY.get(found, 'another program')}: choose another"
        )
    if metadata.get("version") != VERSION:
        raise LTX2Error(
            f"{path.name} must be of version {VERSION} of its layout; it is of version {metadata.get('version')}: "
            "update the pack, or save it anew"
        )


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return tuple(_unpacked(one, tensors) for one in value)
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "latent" in value:
        return {key: _unpacked(one, tensors) for key, one in value["latent"].items()}
    return KINDS[value["kind"]](**{key: _unpacked(one, tensors) for key, one in value["fields"].items()})


def _damaged(path: Path, why: str) -> LTX2Error:
    return LTX2Error(f"{path.name} must hold what its version says; it is damaged ({why}): save it anew")
