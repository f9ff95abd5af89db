"""The dtypes that ComfyUI's flags ask for, for each part of the model."""

from __future__ import annotations

import logging
from functools import cache

import torch
from comfy.cli_args import args

logger = logging.getLogger("ltx2")

_FLAGS = {"transformer": "unet", "vae": "vae", "text": "text_enc"}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def asked_dtype(part: str) -> torch.dtype | None:
    """What the user's flags say that `part` computes in; None where they say nothing.

    --fp32-unet, --bf16-unet, and the same for vae and text-enc; --force-fp32 goes before them.
    """
    if args.force_fp32:
        return torch.float32
    name = _FLAGS.get(part)
    if name is None:
        return None
    if getattr(args, f"fp16_{name}", False) or args.force_fp16:
        _warn(part)
    return next((dtype for short, dtype in _DTYPES.items() if getattr(args, f"{short}_{name}", False)), None)


@cache
def _warn(part: str) -> None:
    logger.warning("LTX-2 would overflow in fp16, so the %s computes in bf16 or fp32; leave the fp16 flag out", part)
