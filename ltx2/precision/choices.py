"""In which precision a transformer runs, as its user chooses: one row for each choice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import LTX2Error
from .matmul import multiply_in_fp8, why_not_on

AS_STORED, FP8_CAST, FP8_MATMUL = "as stored", "fp8 cast", "fp8 scaled matmul"

#: What the reference casts: attention and feed-forward layers of the blocks, of both modalities and between them.
_CAST = re.compile(r"^blocks\.\d+\..*\.(to_q|to_k|to_v|to_out|linear_in|linear_out)\.(weight|bias)$")
_PLAIN = ("BF16", "F16", "F32")
_FP8 = ("fp8_e4m3", "F8_E4M3")


@dataclass(frozen=True)
class Precision:
    """One choice.

    Attributes:
        transform: (our name, weight with its LoRAs merged) -> the weight that is kept.
        finish: What is done to the network when it is filled.
        refuses: {how a file keeps its matrices: how many} -> why this cannot be had of it; None where it can.
        fails_on: (device, dtype that is computed in) -> why it cannot be had there; None where it can.
    """

    transform: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
    finish: Callable[[nn.Module], None] = lambda _: None
    refuses: Callable[[Mapping[str, int]], str | None] = lambda _: None
    fails_on: Callable[[torch.device, torch.dtype], str | None] = lambda _device, _dtype: None


def cast_to_fp8(name: str, tensor: Tensor) -> Tensor:
    """Weights and biases of attention and feed-forward layers as fp8 without a scale; all else as it is."""
    return tensor.to(torch.float8_e4m3fn) if _CAST.match(name) else tensor


def _unless_plain(kinds: Mapping[str, int]) -> str | None:
    packed = [kind for kind in kinds if kind not in _PLAIN]
    if not packed:
        return None
    return f"takes a file with bf16, fp16 or fp32 weights; got {_words(kinds)}: choose '{AS_STORED}', which runs it"


def _unless_fp8(kinds: Mapping[str, int]) -> str | None:
    if any(kind in _FP8 for kind in kinds):
        return None
    return f"takes a file with fp8 (e4m3) weights; got {_words(kinds)}: choose the fp8 file, or '{FP8_CAST}'"


def _words(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in {kind}" for kind, count in Counter(kinds).most_common())


PRECISIONS: Mapping[str, Precision] = {
    AS_STORED: Precision(),
    FP8_CAST: Precision(transform=cast_to_fp8, refuses=_unless_plain),
    FP8_MATMUL: Precision(finish=multiply_in_fp8, refuses=_unless_fp8, fails_on=why_not_on),
}


def check_precision(choice: str, kinds: Mapping[str, int], name: str) -> None:
    """Raise LTX2Error where `choice` is none, or cannot be had of the file `name`, whose matrices are of `kinds`."""
    if choice not in PRECISIONS:
        raise LTX2Error(f"the precision must be one of {', '.join(PRECISIONS)}; got {choice!r}")
    if why := PRECISIONS[choice].refuses(kinds):
        raise LTX2Error(f"{name}: '{choice}' {why}")


def check_device(choice: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise LTX2Error where a device cannot compute so, with results in `dtype`."""
    if choice in PRECISIONS and (why := PRECISIONS[choice].fails_on(device, dtype)):
        raise LTX2Error(
            f"'{choice}' must be something that {device} can; it cannot ({why}): choose '{AS_STORED}', which runs the "
            "same files"
        )
