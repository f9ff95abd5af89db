"""A guided step (conditional, unconditional, perturbed, isolated) against four plain passes, and against diffusers'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import diffusers
import torch
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.guidance.guidance import Guidance
from comfyui_ltx2.ltx2.guidance.plan import plan
from comfyui_ltx2.ltx2.networks.transformer.inputs import StreamInput
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from counting import flops, machine
from peers import Clip, our_inputs, ours, their_inputs, transformer_config, twin
from report import Row
from torch import nn

RELEASES = ("2.0", "2.3")
CLIPS = (Clip(384, 256, 121), Clip(768, 512, 121), Clip(1280, 704, 121), Clip(1920, 1088, 121))
SCALES = Guidance(cfg=3.0, stg=1.0, modality=3.0, rescale=0.7)


LIMITS = {("2.0", 768): 0.81, ("2.0", 384): 0.74, ("2.3", 768): 0.82, ("2.3", 384): 0.79}


def rows() -> Iterator[Row]:
    """A guided step beside four plain passes, and a step without guidance beside its first; operations alone."""
    for (release, width), limit in LIMITS.items():
        clip = next(clip for clip in CLIPS if clip.width == width)
        own, plain, theirs = step_of(release, clip)
        what = f"{release}, guided step, {_size(clip)}; 1 is four plain passes"
        share, other = (one / (4 * plain) for one in (own, theirs))
        yield Row("S4", what, "passes / 4", share, other, limit, "ours")
    own, plain = later_step("2.0", CLIPS[0])
    what = f"2.0, step behind the first of a distilled run, {_size(CLIPS[0])}; 1 is the first"
    yield Row("S5", what, "steps", own / plain, 1.0, 0.915, "ours")


def later_step(release: str, clip: Clip) -> tuple[int, int]:
    """Operations of a step without guidance that knows keys and values of the text, and of one that makes them."""
    network = ours(replace(transformer_config(release), num_layers=4)).to(torch.bfloat16)
    streams = our_inputs(network, clip, device="meta", dtype=torch.bfloat16)
    text = network.text(*(stream.contexts for stream in streams))
    known = tuple(replace(stream, contexts=(), text=one) for stream, one in zip(streams, text, strict=True))
    return flops(lambda: network(*known)), flops(lambda: network(*streams))


def step(network: Transformer, streams: tuple[StreamInput, ...]) -> int:
    """Operations of our step, which is not the run's first: text that no noise level enters is known by then."""
    given = tuple(replace(stream, contexts=stream.contexts * 2) for stream in streams)
    if not network.follows_sigma_in_text:
        text = network.text(*(stream.contexts for stream in given))
        given = tuple(replace(stream, text=known) for stream, known in zip(given, text, strict=True))
    guidance = SCALES.fitted(network.config)
    passes = tuple(plan(guidance, guidance).values())
    return flops(lambda: network(*given, passes))


def per_pass(config: TransformerConfig, clip: Clip) -> tuple[int, int, int]:
    """Operations of (our plain pass, diffusers' pass, diffusers' isolated pass): blocks are all alike, two tell."""
    found = []
    for num_layers in (1, 2):
        shallow = replace(config, num_layers=num_layers)
        network, other = (build(shallow).to(torch.bfloat16) for build in (ours, twin))
        streams = our_inputs(network, clip, device="meta", dtype=torch.bfloat16)
        given = their_inputs(clip, *streams)
        found.append((flops(lambda: network(*streams)), *_theirs(other, given)))  # noqa: B023 - called at once
    return tuple(one + (config.num_layers - 1) * (two - one) for one, two in zip(*found, strict=True))


def _theirs(network: nn.Module, given: dict[str, object]) -> tuple[int, int]:
    return flops(lambda: network(**given)), flops(lambda: network(**given, isolate_modalities=True))


def step_of(release: str, clip: Clip) -> tuple[int, int, int]:
    """Operations of (our guided step, our plain pass, diffusers' guided step).

    diffusers runs the perturbed pass whole, and leaves the exchange out of the isolated one.
    """
    config = transformer_config(release)
    plain, their_pass, their_isolated = per_pass(config, clip)
    network = ours(config).to(torch.bfloat16)
    own = step(network, our_inputs(network, clip, device="meta", dtype=torch.bfloat16))
    return own, plain, 3 * their_pass + their_isolated


def counted(release: str, clip: Clip) -> None:
    """One line."""
    own, plain, theirs = step_of(release, clip)
    print(
        f"{release:>7}  {_size(clip):14} {own / 1e12:8.1f} {4 * plain / 1e12:9.1f} {own / (4 * plain):6.3f}   "
        f"{theirs / 1e12:9.1f} {own / theirs:6.3f}"
    )


def _size(clip: Clip) -> str:
    return f"{clip.width}x{clip.height}x{clip.frames}"


def main() -> None:
    print(f"against diffusers {diffusers.__version__}; {machine()}; a ratio below 1 is in our favour")
    print(
        "\nOne guided step of four passes for video and audio at full size, bf16, 1024 context tokens; TFLOP of the\n"
        "matrix products, counted on the meta device. 2.0 is a step behind the first, which makes the text's keys."
    )
    print("release  clip           ours TF  4 passes  ratio   theirs TF  ratio")
    for release in RELEASES:
        for clip in CLIPS:
            counted(release, clip)


if __name__ == "__main__":
    main()
