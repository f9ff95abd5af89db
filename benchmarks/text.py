"""Gemma on a prompt's own tokens (ours) against the prompt padded to the full context, as the reference runs it."""

from __future__ import annotations

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.config.text import GemmaConfig
from comfyui_ltx2.ltx2.networks.text.gemma import Gemma3
from counting import flops, machine

PADDED = 1024
LENGTHS = (50, 200, 500)


def main() -> None:
    gemma = on_meta(lambda: Gemma3(GemmaConfig())).to(torch.bfloat16)
    # transformers looks at the positions to make these masks, which cannot be done on meta; one prompt needs none.
    masks = {"attention_mask": dict.fromkeys(gemma.config.layer_types)}
    gemma.model.register_forward_pre_hook(lambda module, args, given: (args, {**given, **masks}), with_kwargs=True)
    parameters = sum(parameter.numel() for parameter in gemma.parameters())
    print(
        f"Gemma 3 12B ({parameters / 1e9:.1f} B parameters with embeddings, language model only), all "
        f"{gemma.config.num_layers} layers, bf16, batch 1;\ncounted on the meta device; {machine()}. "
        "Memory-mapped weights are read once either way."
    )

    def encode(length: int) -> int:
        return flops(lambda: gemma(torch.zeros(1, length, dtype=torch.long, device="meta"), torch.bfloat16))

    padded = encode(PADDED)
    print(f"tokens  TFLOP  padded to {PADDED}  ratio")
    for length in LENGTHS:
        own = encode(length)
        print(f"{length:6} {own / 1e12:6.2f} {padded / 1e12:15.2f} {own / padded:6.3f}")


if __name__ == "__main__":
    main()
