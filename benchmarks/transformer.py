"""The transformer against diffusers': operations and memory at full size (counted), and time at a small one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import diffusers
import torch
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.layers.fused import FUSED, use_operations
from comfyui_ltx2.ltx2.networks.transformer.inputs import StreamInput
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from counting import Traffic, flops, machine, peak_bytes, traffic
from peers import Clip, our_inputs, ours, their_inputs, transformer_config, twin
from report import Row
from stages import Run, sampling
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

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
SMALL_CLIPS = tuple(Clip(*size, 121, conditioned) for conditioned in (False, True) for size in ((384, 256), (192, 128)))
ROUNDS = 9


def rows() -> Iterator[Row]:
    """Memory, operations and traffic at full size, and time at a small one; all against diffusers."""
    for name, limit, clip, mask in (
        ("S1", 2.1, Clip(1920, 1088, 121), None),
        ("S2", 2.3, Clip(1920, 1088, 121, True), "first frame"),
    ):
        for release in RELEASES:
            # Ours is a step as the denoiser makes it, its tables and what it keeps of the prompt included.
            run = Run(clip.width, clip.height, clip.frames, mask=mask)
            own = sampling(release, run, torch.bfloat16, num_layers=2).counted
            _, other = on_meta_pair(release, clip, 2).peaks()
            yield Row(name, f"{release}, one forward call, {_words(clip)}", "GB", own / 1e9, other / 1e9, limit, "ours")
    clip = Clip(768, 512, 121)
    for release, limit in (("2.0", 120), ("2.3", 150)):
        own, other = of_a_block(release, clip)
        what = f"{release}, one block, {_words(clip)}"
        yield Row("S3", f"{what}: kernels", "operations", own.operations, other.operations, limit, "ours")
        hidden = clip.num_tokens * 4096 * 2
        moved, theirs = (one.elementwise_bytes / hidden for one in (own, other))
        yield Row("S3", f"{what}: bytes moved beside products and attention", "x hidden", moved, theirs, 120, "ours")
        own = fused_block(release, clip)
        yield Row("S3", f"{what}, fused: kernels", "operations", own.operations, other.operations, 70, "ours")
        moved = own.elementwise_bytes / hidden
        yield Row("S3", f"{what}, fused: bytes moved", "x hidden", moved, theirs, 40, "ours")
    for release in RELEASES:
        for clip in SMALL_CLIPS:
            own, other = seconds_of(release, clip)
            what = f"{release}, one forward call of a small network, {_words(clip)}"
            name, limit = ("T2", 0.75) if clip.is_conditioned else ("T1", 0.9)
            yield Row(name, what, "s", own, other, limit, "ratio")


def _words(clip: Clip) -> str:
    kind = "image to video" if clip.is_conditioned else "text to video"
    return f"{kind}, {clip.width}x{clip.height}x{clip.frames}"


def on_meta_pair(release: str, clip: Clip, num_layers: int) -> Pair:
    """Both transformers of so many blocks, at full width."""
    return Pair(transformer_config(release, num_layers=num_layers), clip, device="meta", dtype=torch.bfloat16)


def of_a_block(release: str, clip: Clip) -> tuple[Traffic, Traffic]:
    """What one block of either adds to a forward call that makes keys and values of the text."""
    shallow, deep = (on_meta_pair(release, clip, n).calls() for n in (1, 2))
    return _more(shallow[0], deep[0]), _more(shallow[1], deep[1])


def fused_block(release: str, clip: Clip) -> Traffic:
    """What one block of ours adds where its operations are fused, as on GPUs."""
    pairs = [on_meta_pair(release, clip, n) for n in (1, 2)]
    for pair in pairs:
        use_operations(pair.networks[0], FUSED)
    return _more(*(pair.calls()[0] for pair in pairs))


def _more(shallow: Callable[[], object], deep: Callable[[], object]) -> Traffic:
    """What the call of a network costs more than that of one with a block less."""
    less, found = traffic(shallow), traffic(deep)
    found.operations -= less.operations
    found.elementwise_bytes -= less.elementwise_bytes
    return found


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
def seconds_of(release: str, clip: Clip) -> tuple[float, ...]:
    """Least process time of a call of either, fp32; they take turns, so that what else the machine does hits both."""
    return least(small_pair(release, clip).calls())


def small_pair(release: str, clip: Clip) -> Pair:
    """Ours is a step behind the first: where no noise level enters the text (2.0), its keys and values are known."""
    pair = Pair(transformer_config(release, **SMALL), clip, device="cpu", dtype=torch.float32)
    network, streams = cast(Transformer, pair.networks[0]), (pair.video, pair.audio)
    if not network.follows_sigma_in_text:
        text = network.text(*(stream.contexts for stream in streams))
        pair.video, pair.audio = (replace(stream, text=known) for stream, known in zip(streams, text, strict=True))
    return pair


def least(calls: Sequence[Callable[[], object]]) -> tuple[float, ...]:
    """Least process time of each; the first turn does not count."""
    found = [[] for _ in calls]
    for number in range(ROUNDS + 1):
        for call, seconds in zip(calls, found, strict=True):
            start = time.process_time()
            call()
            if number:
                seconds.append(time.process_time() - start)
    return tuple(map(min, found))


def products(call: Callable[[], object]) -> float:
    """Least time of a call's matrix products and attention alone, which no other code around them makes faster."""
    found = []
    for _ in range(ROUNDS):
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            call()
        events = profiled.key_averages()
        found.append(
            sum(one.self_cpu_time_total for one in events if one.key == "aten::addmm" or "dot_prod" in one.key)
        )
    return min(found) / 1e6


@torch.no_grad()
def timed(release: str, clip: Clip) -> None:
    """One line."""
    calls = small_pair(release, clip).calls()
    own, other = least(calls)
    alone = products(calls[0])
    print(
        f"{release:>7}  {_words(clip):30} {own * 1e3:8.1f} {other * 1e3:9.1f} {own / other:6.3f} "
        f"{alone * 1e3:9.1f} {alone / other:6.3f}"
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
    print(
        "\nTime of one forward call: fp32, CPU, 1 thread, 4 blocks of width 512 / 256, 1024 context tokens, least "
        f"process time of {ROUNDS} calls that take turns; and what of ours is products and attention."
    )
    print("release  clip                            ours ms theirs ms  ratio  products  ratio")
    for release in RELEASES:
        for clip in SMALL_CLIPS:
            timed(release, clip)


if __name__ == "__main__":
    main()
