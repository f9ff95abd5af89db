"""What every stage takes beside its weights: as the library estimates it, and as it is counted on the meta device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfyui_ltx2.ltx2.runtime.tiling import Tiling
from counting import machine
from report import Row
from stages import (
    FULL,
    UPSAMPLERS,
    Run,
    Stage,
    answering,
    decoding,
    encoding,
    prompt,
    sampling,
    seeing,
    sound_decoding,
    sound_encoding,
    upsampling,
)

RELEASES = ("2.0", "2.3")
DTYPE = torch.bfloat16
SIZES = ((25, 256, 384), (121, 512, 768), (121, 1088, 1920), (1, 512, 768))
TILES = Tiling((80, 24), (768, 64), (768, 64))


def rows() -> Iterator[Row]:
    """The estimates that are the farthest off, either way."""
    ratios = {name: stage.ratio for name, stage in stages()}
    for word, most in (("above", max), ("below", min)):
        name = most(ratios, key=ratios.__getitem__)
        off = 100 * abs(ratios[name] - 1)
        yield Row("memory", f"estimate furthest {word}: {name}", "% off", off, None, 15.0, "ours")


def stages() -> Iterator[tuple[str, Stage]]:
    """Each stage by its name."""
    for release in RELEASES:
        for frames, height, width in SIZES[:3]:
            for guidance, at_once in ((None, 0), (FULL, 1), (FULL, 0)):
                run = Run(width, height, frames, *([guidance] if guidance else []), passes_per_forward=at_once)
                passes = "1 pass" if guidance is None else f"4 passes, {at_once or 4} at once"
                yield f"{release} step, {width}x{height}x{frames}, {passes}", sampling(release, run, DTYPE)
        for size in SIZES:
            tiling = TILES if size == SIZES[2] else None
            name = f"{size[2]}x{size[1]}x{size[0]}{', tiles of 768x768x80' if tiling else ''}"
            yield f"{release} decode video, {name}", decoding(release, size, tiling, DTYPE)
            yield f"{release} encode video, {name}", encoding(release, size, tiling, DTYPE)
        for tokens in (100, 1024):
            yield f"{release} encode a prompt of {tokens} tokens", prompt(release, tokens, DTYPE)
        yield f"{release} decode sound, 20 s", sound_decoding(release, 20, DTYPE)
    yield "encode sound, 20 s", sound_encoding(20, 48000, DTYPE)
    for kind in UPSAMPLERS:
        yield f"upsampler {kind}, 16x17x30 latents", upsampling(kind, (16, 17, 30), DTYPE)
    yield "enhance a prompt, 800 + 512 tokens", answering(800, 512, DTYPE)
    yield "look at a picture", seeing(DTYPE)


def main() -> None:
    print(
        "Most bytes of results alive at once, full size, bf16, batch 1, weights not included; three of 48 blocks in "
        f"steps.\nCounted on the meta device; {machine()}"
    )
    print(f"{'stage':58} estimate MB  counted MB  ratio")
    for name, stage in stages():
        print(f"{name:58} {stage.estimated / 1e6:11.1f} {stage.counted / 1e6:11.1f} {stage.ratio:6.3f}")


if __name__ == "__main__":
    main()
