"""The transformer and the text encoder in other precisions and places, from random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.networks.text.connector import TextConnectors
from comfyui_ltx2.ltx2.networks.text.encoder import TextEncoder
from comfyui_ltx2.ltx2.networks.text.gemma import Gemma3
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from comfyui_ltx2.ltx2.placement import RAM, Placement
from comfyui_ltx2.ltx2.precision.cast import CastLinear, cast_at_use
from comfyui_ltx2.ltx2.precision.choices import cast_to_fp8
from comfyui_ltx2.ltx2.precision.formats import SCALE, Kept
from comfyui_ltx2.ltx2.precision.matmul import multiply_in_fp8, why_not_on
from comfyui_ltx2.ltx2.precision.packed import keep_packed
from comfyui_ltx2.ltx2.runtime.offload.streaming import BLOCKS, StreamedNetwork
from comfyui_ltx2.ltx2.runtime.placement import free_ram
from gpu_bench import Bench, filled
from torch import nn

_FP8 = torch.float8_e4m3fn
_SLOTS = 2


class UnavailableError(Exception):
    """Something cannot be measured here; the message says why."""


def put_in_fp8(network: nn.Module, bench: Bench) -> None:
    """Make a resident transformer that of a scaled fp8 file whose layers multiply in fp8. Raises UnavailableError."""
    if why := why_not_on(bench.device, bench.dtype):
        raise UnavailableError(f"no products in fp8 on {bench.device}: {why}")
    for name, module in list(network.named_modules()):
        if type(module) is CastLinear and cast_to_fp8(f"{name}.weight", module.weight.data.to("meta")).dtype == _FP8:
            scale = module.weight.abs().amax().float() / torch.finfo(_FP8).max  # type: ignore[operator]
            packed = (module.weight / scale).to(_FP8)
            keep_packed(module, packed, {SCALE: scale}, Kept("fp8_e4m3", tuple(packed.shape)))
    multiply_in_fp8(network)
    bench.empty_cache()


def streamed_transformer(bench: Bench, config: Any) -> nn.Module:
    """A transformer whose blocks come from RAM, pinned for a GPU."""
    network = cast_at_use(on_meta(lambda: Transformer(config)))
    _streamed(network, "transformer", bench)
    return network


def streamed_text_encoder(bench: Bench) -> tuple[TextEncoder, StreamedNetwork]:
    """Gemma and then the connectors, their layers from RAM; there is no tokenizer."""
    connectors = bench.scale.config(bench.release, "connectors")
    made: Callable[[], nn.Module] = lambda: TextEncoder(None, Gemma3(bench.scale.gemma), TextConnectors(connectors))  # noqa: E731
    encoder = cast_at_use(on_meta(made))
    return encoder, _streamed(encoder, "text encoder", bench)


def _streamed(network: nn.Module, kind: str, bench: Bench) -> StreamedNetwork:
    """All blocks of a list have the numbers of its first where they lie, uncounted; they arrive one by one."""
    lists = [list(network.get_submodule(each.path)) for each in BLOCKS[kind].lists]
    needed = sum(2 * len(blocks) * sum(weight.numel() for weight in blocks[0].parameters()) for blocks in lists)
    free = free_ram()
    if free is not None and needed > 0.8 * free:
        raise UnavailableError(f"{needed / 1e9:.1f} GB of blocks do not fit into the RAM, {free / 1e9:.1f} GB free")
    for blocks in lists:
        filled(blocks[0], bench.device)
        blocks[0].to("cpu")
        for block in blocks[1:]:
            for own, first in zip(block.modules(), blocks[0].modules(), strict=True):
                own._parameters.update(first._parameters)
                own._buffers.update(first._buffers)
    placement = Placement(RAM, _SLOTS)
    options = {"name": kind, "check": lambda: None, "on_bytes": lambda _done, _total: None}
    streaming = StreamedNetwork(network, BLOCKS[kind], placement, bench.device, **options)
    filled(streaming.rest, bench.device)
    return streaming
