"""How a network keeps its weights, and in what it multiplies: counts for reports, one line for the log."""

from __future__ import annotations

from collections import Counter

from torch import nn

from .cast import CastLinear
from .matmul import Fp8Linear, why_not
from .packed import PackedLinear


def kept_in(network: nn.Module) -> Counter[str]:
    """{format or dtype: how many tensors of the network are kept in it}; scales of packed weights are no tensors."""
    counts: Counter[str] = Counter()
    for module in network.modules():
        buffers = () if isinstance(module, PackedLinear) else set(module._buffers) - module._non_persistent_buffers_set
        for name, tensor in (*module._parameters.items(), *((name, module._buffers[name]) for name in buffers)):
            if tensor is None:
                continue
            packed = isinstance(module, PackedLinear) and name == "weight"
            counts[module.kept.format if packed else str(tensor.dtype).removeprefix("torch.")] += 1  # type: ignore[union-attr]
    return counts


def in_words(network: nn.Module) -> str:
    """How many linear layers are kept in what, and why not all multiply in fp8 where some do."""
    layers = [module for module in network.modules() if isinstance(module, CastLinear)]
    kept: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for layer in layers:
        name = layer.kept.format if isinstance(layer, PackedLinear) else str(layer.weight.dtype).removeprefix("torch.")
        scaled = " scaled" if isinstance(layer, PackedLinear) and "weight_scale" in layer._buffers else ""
        kept[name + scaled] += 1
        if isinstance(layer, PackedLinear) and not isinstance(layer, Fp8Linear):
            reasons[why_not(layer) or "not chosen"] += 1
    words = f"{len(layers)} linear layers: " + ", ".join(f"{count} {name}" for name, count in kept.most_common())
    fast = sum(isinstance(layer, Fp8Linear) for layer in layers)
    if fast:
        others = "".join(f", {count} not ({why})" for why, count in reasons.most_common())
        plain = len(layers) - fast - reasons.total()
        return f"{words}; {fast} multiply in fp8{others}" + (f", {plain} not (kept plainly)" if plain else "")
    return words + ("; what is packed is expanded at each use" if reasons else "")
