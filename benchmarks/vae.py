"""What decoding 1920x1088 takes as nodes stream it, beside diffusers' default, which decodes at once; on meta."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfyui_ltx2.ltx2.runtime.tiling import Tiling
from counting import flops, peak_bytes
from peers import video_vae_twin
from report import HEAD, Row, line
from stages import decoding, decoding_flops

DTYPE = torch.bfloat16
#: GB beside the weights.
LIMITS = {"2.0": 4.0, "2.3": 4.5}
CLIPS = {frames: (frames, 1088, 1920) for frames in (121, 241)}


def rows() -> Iterator[Row]:
    """Operations, memory, and how memory grows with the clip."""
    for release, limit in LIMITS.items():
        short, long = (decoding(release, size, Tiling(), DTYPE).counted for size in CLIPS.values())
        operations, peak = of_the_peer(release)
        what = f"{release}, decode 1920x1088x121"
        own = decoding_flops(release, CLIPS[121], Tiling())
        yield Row("S6", what, "TFLOP", own / 1e12, operations / 1e12, 1.0, "ratio")
        yield Row("S6", f"{what}: memory", "GB", short / 1e9, peak / 1e9, limit, "ours")
        growth = f"{release}, memory of a decode of 241 frames; 1 is that of 121"
        yield Row("S6", growth, "times", long / short, None, 1.05, "ours")


def of_the_peer(release: str) -> tuple[int, int]:
    """Operations and most bytes at once of diffusers' decode of 121 frames."""
    network = video_vae_twin(release).to(DTYPE)
    latent = torch.empty(1, 128, 16, 34, 60, dtype=DTYPE, device="meta")

    def decode() -> None:
        network.decode(latent, return_dict=False)  # type: ignore[operator]

    return flops(decode), peak_bytes(decode, given=(*network.parameters(), *network.buffers(), latent))


def main() -> None:
    print(HEAD)
    for row in rows():
        print(line(row))


if __name__ == "__main__":
    main()
