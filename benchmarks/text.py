"""Gemma on a prompt's own tokens (ours) against the prompt padded to the full context, as the reference runs it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.config.text import GemmaConfig
from comfyui_ltx2.ltx2.networks.text.gemma import Gemma3
from counting import flops, machine
from report import Row

PADDED = 1024
LENGTHS = (50, 200, 500)


GOAL_LENGTH, GOAL = 200, 0.2


def rows() -> Iterator[Row]:
    """A prompt of usual length."""
    encoder = gemma()
    own, padded = (encoding(encoder, length) for length in (GOAL_LENGTH, PADDED))
    what = f"Gemma 3 12B, prompt of {GOAL_LENGTH} tokens; peer: padded to {PADDED}"
    yield Row("S7", what, "TFLOP", own / 1e12, padded / 1e12, GOAL, "ratio")


def gemma() -> Gemma3:
    """The language model of the released size, on the meta device."""
    network = on_meta(lambda: Gemma3(GemmaConfig())).to(torch.bfloat16)
    # transformers looks at the positions to make these masks, which cannot be done on meta; one prompt needs none.
    masks = {"attention_mask": dict.fromkeys(network.config.layer_types)}
    network.model.register_forward_pre_hook(lambda module, args, given: (args, {**given, **masks}), with_kwargs=True)
    return network


def encoding(network: Gemma3, length: int) -> int:
    """Operations for a prompt of so many tokens."""
    return flops(lambda: network(torch.zeros(1, length, dtype=torch.long, device="meta"), torch.bfloat16))


def main() -> None:
    network = gemma()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(
        f"Gemma 3 12B ({parameters / 1e9:.1f} B parameters with embeddings, language model only), all "
        f"{network.config.num_layers} layers, bf16, batch 1;\ncounted on the meta device; {machine()}. "
        "Memory-mapped weights are read once either way."
    )
    padded = encoding(network, PADDED)
    print(f"tokens  TFLOP  padded to {PADDED}  ratio")
    for length in LENGTHS:
        own = encoding(network, length)
        print(f"{length:6} {own / 1e12:6.2f} {padded / 1e12:15.2f} {own / padded:6.3f}")


if __name__ == "__main__":
    main()
