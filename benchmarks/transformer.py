"""The transformer against diffusers': operations and memory at full size (counted), and time at a small one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import diffusers
import torch
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.networks.transformer.inputs import StreamInput
from counting import flops, machine, peak_bytes
from peers import Clip, our_inputs, ours, their_inputs, transformer_config, twin
from torch import Tensor, nn

RELEASES = ("2.0", "2.3")
CLIPS = tuple(
    Clip(*size, conditioned) for size in ((768, 512, 121), (1920, 1088, 121)) for conditioned in (False, True)
)
SMALL = {
    "num_layers": 4,
    "num_heads": 8,
    "head_dim": 64,
    "cross_attention_dim": 512,
    "audio_num_heads": 8,
    "audio_head_dim": 32,
    "audio_cross_attention_dim": 256,
    "caption_channels": 512,
}
SMALL_CLIPS = (Clip(384, 256, 41), Clip(384, 256, 41, True))
ROUNDS = 9


class Pair:
    """Both transformers of a config with the same inputs."""

    def __init__(self, config: TransformerConfig, clip: Clip, *, device: str, dtype: torch.dtype) -> None:
        self.networks = tuple(_filled(build(config), device, dtype) for build in (ours, twin))
        self.video, self.audio = our_inputs(self.networks[0], clip, device=device, dtype=dtype)
        self.theirs = their_inputs(clip, self.video, self.audio)

    def calls(self) -> tuple[Callable[[], tuple[Tensor, ...]], Callable[[], tuple[Tensor, ...]]]:
        own, other = self.networks
        return lambda: own(self.video, self.audio), lambda: other(**self.theirs)

    def peaks(self) -> tuple[int, ...]:
        """Live bytes of the call of either; the rotary tables count for both, whoever made them."""
        streams = (self.video, self.audio)
        tables = tuple(table for stream in streams for table in _tables(stream))
        inputs = [value for value in self.theirs.values() if isinstance(value, Tensor)]
        inputs += [tensor for stream in streams for tensor in (stream.latent, *stream.contexts, stream.sigma)]
        found = []
        for network, call, held in zip(self.networks, self.calls(), (tables, ()), strict=True):
            found.append(peak_bytes(call, given=(*network.parameters(), *network.buffers(), *inputs), held=held))
        return tuple(found)


def _tables(stream: StreamInput) -> tuple[Tensor, ...]:
    return tuple(table for rotary in (stream.rotary, stream.exchange_rotary) for table in (rotary.cos, rotary.sin))


def _filled(network: nn.Module, device: str, dtype: torch.dtype) -> nn.Module:
    network = network.to(dtype)
    if device != "meta":
        network = network.to_empty(device=device)
        for parameter in network.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return network


def counted(release: str, clip: Clip) -> None:
    """One line: blocks are all alike, so two networks of one and two blocks tell the cost of the released number."""
    config = transformer_config(release)
    operations = []
    for num_layers in (1, 2):
        pair = Pair(transformer_config(release, num_layers=num_layers), clip, device="meta", dtype=torch.bfloat16)
        operations.append([flops(call) for call in pair.calls()])
    total = [one + (config.num_layers - 1) * (two - one) for one, two in zip(*operations, strict=True)]
    own, other = pair.peaks()
    kind = "image to video" if clip.is_conditioned else "text to video"
    size = f"{clip.width}x{clip.height}x{clip.frames}"
    print(
        f"{release:>7}  {size:14} {kind:14} "
        f"{total[0] / 1e12:8.1f} {total[1] / 1e12:9.1f} {total[0] / total[1]:6.3f}   "
        f"{own / 1e9:8.2f} {other / 1e9:9.2f} {own / other:6.3f}"
    )


@torch.no_grad()
def timed(release: str, clip: Clip) -> None:
    """One line: medians of calls that take turns, so that what else the machine does hits both."""
    calls = Pair(transformer_config(release, **SMALL), clip, device="cpu", dtype=torch.float32).calls()
    seconds = ([], [])
    for number in range(ROUNDS + 1):
        for call, found in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            if number:
                found.append(time.perf_counter() - start)
    own, other = map(statistics.median, seconds)
    kind = "image to video" if clip.is_conditioned else "text to video"
    ratios = sorted(a / b for a, b in zip(*seconds, strict=True))
    print(
        f"{release:>7}  {kind:14} {own * 1e3:8.1f} {other * 1e3:9.1f} "
        f"{statistics.median(ratios):6.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def main() -> None:
    print(f"against diffusers {diffusers.__version__}; {machine()}; a ratio below 1 is in our favour")
    print(
        "\nOne forward call at full size, bf16, batch 1, 1024 context tokens; counted on the meta device with 1 and 2\n"
        "of 48 blocks. TF: TFLOP of the matrix products of all 48. GB: most live results at once, "
        "weights and inputs not included."
    )
    print("release  clip           kind            ours TF  theirs TF  ratio    ours GB theirs GB  ratio")
    for release in RELEASES:
        for clip in CLIPS:
            counted(release, clip)
    # Two threads wait for each other where another process has one of the cores; one thread is steady.
    torch.set_num_threads(1)
    clip = SMALL_CLIPS[0]
    print(
        f"\nTime of one forward call: fp32, CPU, 1 thread, 4 blocks of width 512 / 256, {clip.num_tokens} video "
        f"and {clip.audio_length} audio tokens,\n1024 context tokens, median of {ROUNDS} calls that take turns."
    )
    print("release  kind            ours ms theirs ms  ratio (least to most)")
    for release in RELEASES:
        for clip in SMALL_CLIPS:
            timed(release, clip)


if __name__ == "__main__":
    main()
