"""torch.compile for the blocks of a built transformer, applied from outside.

A block's parts are compiled and not the block: what hosts hang on blocks (cancelling, memory) stays plain Python. All
blocks share what is compiled for the first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import nn

from .errors import LTX2Error
from .networks.transformer.model import Block, Transformer
from .placement import RESIDENT, Placement
from .precision.choices import AS_STORED
from .precision.packed import PackedLinear

PARTS = ("attend", "read", "exchange_and_feed")
#: Of calls that a part is compiled for: torch's own limit of 8 is met by a few sizes, and ends in silence.
KINDS = 64
_COMPILERS = ("g++", "clang++", "cl")


def check_compiler(device: torch.device) -> None:
    """Raise LTX2Error where there is nothing on this machine to compile with for `device`; says what is missing."""
    if reason := _why_not_on(device):
        raise LTX2Error(f"blocks cannot be compiled: {reason}. Take the LTX-2 Compile node out, or disable it")


def _why_not_on(device: torch.device) -> str | None:
    if device.type == "cuda":
        return None if find_spec("triton") else "triton must be installed (on Windows: pip install triton-windows)"
    if device.type != "cpu":
        return f"torch.compile is not known to work for this on {device.type}"
    found = any(map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS)))
    return None if found else f"there must be a C++ compiler on the CPU ({', '.join(_COMPILERS)}); none is found"


def check_compiled(placement: Placement | None, precision: str, lora_modes: Sequence[str], *, is_fused: bool) -> None:
    """Raise LTX2Error where blocks of a transformer that is placed and changed so cannot be compiled; says why."""
    reason = None
    if placement is not None and placement.mode != RESIDENT:
        reason = f"stay on the device; got the placement '{placement.mode}': choose '{RESIDENT}'"
    elif precision != AS_STORED:
        reason = f"have their weights as stored; got the precision '{precision}': choose '{AS_STORED}'"
    elif is_fused:
        reason = "have plain operations, for compiling fuses them; got fused ones: disable LTX-2 Fused Operations"
    elif "runtime" in lora_modes:
        reason = "have their LoRAs merged; got one of mode runtime: choose merge"
    if reason:
        raise LTX2Error(f"compiled blocks must {reason}, or leave LTX-2 Compile out")


def compile_blocks(network: nn.Module, backend: str = "inductor") -> None:
    """Let the parts of every block run compiled: the first call of each compiles it, and once more for other sizes.

    Raises:
        LTX2Error: weights are packed.
    """
    packed = sum(isinstance(module, PackedLinear) for module in network.modules())
    if packed:
        raise LTX2Error(
            f"compiled blocks must have plain weights (bf16, fp16, fp32); {packed} layers of this file are packed: "
            "choose the bf16 file, or leave LTX-2 Compile out"
        )
    for block in cast(Transformer, network).blocks:
        # Functions bound to the block and kept in it would be a cycle, and its weights would outlive the network.
        block.__class__ = _compiled_block(backend)


@cache
def _compiled_block(backend: str) -> type[Block]:
    parts = {part: _compiled(getattr(Block, part), backend) for part in PARTS}
    return type("CompiledBlock", (Block,), parts)


def _compiled(part: Callable[..., Any], backend: str) -> Callable[..., Any]:
    """`part` compiled for each kind of arguments that comes; an error where they are too many, and never plain."""
    from torch._dynamo import config, exc  # late: it loads much

    compiled = torch.compile(part, backend=backend)

    @wraps(part)
    def run(*arguments: Any) -> Any:
        try:
            with config.patch(recompile_limit=KINDS, fail_on_recompile_limit_hit=True):
                return compiled(*arguments)
        except exc.FailOnRecompileLimitHit as error:
            raise LTX2Error(
                f"blocks are compiled for at most {KINDS} kinds of calls (sizes, numbers of passes, masks); there came "
                "another: leave LTX-2 Compile out, or make clips of one size in one run of ComfyUI"
            ) from error

    return run
