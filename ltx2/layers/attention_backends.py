"""Kernels that attention may run with, as a table: who chooses one knows whether it runs here, or why it does not.

Shapes: B batch, H heads, T query tokens, S key tokens, C features of a head. All take queries (B, H, T, C) and keys and
values (B, H, S, C) and give (B, H, T, C).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import LTX2Error
from ..packages import rearrange
from .attention import Attention

AUTOMATIC = "automatic"
_HALF = (torch.float16, torch.bfloat16)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Fails = Callable[[torch.device, torch.dtype], str | None]


@dataclass(frozen=True)
class Backend:
    """One kernel.

    Attributes:
        words: What it is, for people.
        attend: (queries, keys, values) -> what was found.
        fails_on: (device, dtype) -> why it cannot run there; None where it can.
        is_lossy: Whether it computes in fewer bits than its inputs have.
        is_recordable: Whether it runs on the stream that torch computes on, as CUDA graphs need.
        ran_on: Where this pack has run it; None for nowhere yet.
    """

    words: str
    attend: Attend
    fails_on: Fails
    is_lossy: bool = False
    is_recordable: bool = True
    ran_on: str | None = None


def _torchs(kernel: SDPBackend) -> Attend:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return F.scaled_dot_product_attention(query, key, value)

    return attend


def _tokens_first(module: str, function: str) -> Attend:
    """A function of a package that takes and gives (B, T, H, C)."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (rearrange(part, "b h t c -> b t h c") for part in (query, key, value))
        found: Any = getattr(import_module(module), function)(*parts)
        # Some releases give the logarithms of the sums of weights, too.
        return rearrange(found[0] if isinstance(found, tuple) else found, "b t h c -> b h t c")

    return attend


def _sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return import_module("sageattention").sageattn(query, key, value, tensor_layout="HND", is_causal=False)


def _anywhere(_device: torch.device, _dtype: torch.dtype) -> str | None:
    return None


def _on_gpu(device: torch.device, _dtype: torch.dtype) -> str | None:
    return None if device.type == "cuda" else f"it runs on GPUs that torch calls cuda; this is {device.type}"


def _in_half(device: torch.device, dtype: torch.dtype) -> str | None:
    if found := _on_gpu(device, dtype):
        return found
    return None if dtype in _HALF else f"it takes bf16 and fp16; this computes in {str(dtype).removeprefix('torch.')}"


def _in_half_or_on_cpu(device: torch.device, dtype: torch.dtype) -> str | None:
    return None if device.type == "cpu" else _in_half(device, dtype)


def _on_nvidia(device: torch.device, dtype: torch.dtype) -> str | None:
    return _in_half(device, dtype) or ("it runs on NVIDIA GPUs; this is one of AMD" if torch.version.hip else None)


def _package(name: str, cure: str, least: tuple[int, int], below: tuple[int, int] = (99, 0)) -> Fails:
    """For a kernel of a package, on GPUs of compute capability `least` and more, but less than `below`."""

    def fails_on(device: torch.device, dtype: torch.dtype) -> str | None:
        if found := _on_nvidia(device, dtype):
            return found
        own = torch.cuda.get_device_capability(device)
        if not least <= own < below:
            needs = f"at least {least[0]}.{least[1]}" + (f" and below {below[0]}.{below[1]}" if below[0] < 99 else "")
            return f"it takes GPUs of compute capability {needs}; this has {own[0]}.{own[1]}"
        return None if _is_there(name) else f"{name} is not installed: {cure}"

    return fails_on


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # of a package around it
        return False


#: Every kernel by the name that users choose it by.
BACKENDS: dict[str, Backend] = {
    AUTOMATIC: Backend("torch's own choice for the device", F.scaled_dot_product_attention, _anywhere, ran_on="CPU"),
    "torch flash": Backend(
        "FlashAttention 2 as torch has it", _torchs(SDPBackend.FLASH_ATTENTION), _in_half_or_on_cpu, ran_on="CPU"
    ),
    "torch cuDNN": Backend("cuDNN's kernel as torch has it", _torchs(SDPBackend.CUDNN_ATTENTION), _on_nvidia),
    "torch efficient": Backend("xFormers' kernel as torch has it", _torchs(SDPBackend.EFFICIENT_ATTENTION), _on_gpu),
    "torch math": Backend("plain products, slow and large", _torchs(SDPBackend.MATH), _anywhere, ran_on="CPU"),
    "FlashAttention 3": Backend(
        "for Hopper",
        _tokens_first("flash_attn_interface", "flash_attn_func"),
        _package("flash_attn_interface", "build it from the folder hopper of flash-attention", (9, 0), (10, 0)),
    ),
    "FlashAttention 4": Backend(
        "for Hopper and Blackwell",
        _tokens_first("flash_attn.cute", "flash_attn_func"),
        _package("flash_attn.cute", "pip install flash-attn-4", (9, 0)),
    ),
    "SageAttention": Backend(
        "products in int8 and fp8",
        _sage,
        _package("sageattention", "pip install sageattention", (8, 0)),
        is_lossy=True,
        is_recordable=False,  # its kernels run on the default stream, whatever torch's is
    ),
    "xFormers": Backend(
        "memory-efficient attention",
        _tokens_first("xformers.ops", "memory_efficient_attention"),
        _package("xformers", "pip install xformers", (7, 5)),
    ),
}


def check_backend(name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise LTX2Error unless attention can run with this kernel on a device, computing in `dtype`; says why not."""
    if name not in BACKENDS:
        raise LTX2Error(f"attention must be one of {', '.join(BACKENDS)}; got {name!r}")
    if reason := BACKENDS[name].fails_on(device, dtype):
        others = ", ".join(other for other, row in BACKENDS.items() if not row.fails_on(device, dtype))
        raise LTX2Error(f"attention cannot run with {name}: {reason}. Choose one of {others}")


def use_attention(network: nn.Module, name: str) -> None:
    """Let every attention layer of `network` run with this kernel; what has a bias stays with torch's choice."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.kernel = BACKENDS[name].attend


def in_words() -> str:
    """The whole table for a tooltip: what each is, which loses precision, and which nobody has run yet."""
    return " ".join(
        f"{name}: {row.words}{'; LOSSY' if row.is_lossy else ''}{'' if row.ran_on else '; untested'}."
        for name, row in BACKENDS.items()
    )
