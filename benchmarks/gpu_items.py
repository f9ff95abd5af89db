"""What is measured of ours on a GPU: the goals H1 to H13, through the functions that nodes call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from comfyui_ltx2.ltx2.compilation import check_compiler, compile_blocks
from comfyui_ltx2.ltx2.decoding import decode_to_file
from comfyui_ltx2.ltx2.geometry import Canvas
from comfyui_ltx2.ltx2.guidance.guidance import NEUTRAL, Guidance
from comfyui_ltx2.ltx2.guidance.presets import PRESETS
from comfyui_ltx2.ltx2.latents import empty, latents_of, states_of
from comfyui_ltx2.ltx2.layers.attention_backends import BACKENDS
from comfyui_ltx2.ltx2.layers.fused import FUSED, check_fused, use_operations
from comfyui_ltx2.ltx2.layers.operations import PLAIN
from comfyui_ltx2.ltx2.networks.text.connector import TextConnectors
from comfyui_ltx2.ltx2.networks.text.encoder import encode_prompt
from comfyui_ltx2.ltx2.networks.text.gemma import Gemma3
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from comfyui_ltx2.ltx2.networks.upsampler import Upsampler, upsample
from comfyui_ltx2.ltx2.networks.video_vae import VideoVAE
from comfyui_ltx2.ltx2.recording import check_graphs, record_calls
from comfyui_ltx2.ltx2.runtime.tiled_vae import decode_video
from comfyui_ltx2.ltx2.runtime.tiling import Tiling
from comfyui_ltx2.ltx2.sampling.denoiser import Context, Denoiser, Prompts
from comfyui_ltx2.ltx2.sampling.noise import draw
from comfyui_ltx2.ltx2.sampling.run import run
from comfyui_ltx2.ltx2.sampling.sample import start
from comfyui_ltx2.ltx2.sampling.schedules import distilled_schedule
from comfyui_ltx2.ltx2.sampling.solvers import Prediction, euler
from counting import flops
from gpu_bench import Bench, random_network
from gpu_profile import lines, profiled
from gpu_variants import UnavailableError, put_in_fp8, streamed_text_encoder, streamed_transformer
from peers import Clip, our_inputs, ours
from report import Row
from torch import Tensor

FRAMES, FRAME_RATE, SIGMA = 121, 24.0, 0.7
TFLOPS = 790  # of an H200, dense bf16, as it is reached
SLOTS = 1024
GUIDANCE = PRESETS["LTX-2 dev"]
#: What is streamed: the id of the same when resident, size, guidance, goals for the ratio and for the peak in GB.
STREAMED = (
    ("H2", 768, 512, (NEUTRAL, NEUTRAL), 2.5, 5.0),
    ("H5", 768, 512, GUIDANCE, 1.05, None),
    ("H4", 1920, 1088, (NEUTRAL, NEUTRAL), 1.05, 7.0),
)
Pair = tuple[dict[str, Any], dict[str, Any]]


class Step:
    """One prediction of a run that is under way."""

    def __init__(self, denoiser: Denoiser, latents: tuple[Tensor, ...]) -> None:
        self.denoiser, self.latents = denoiser, latents

    def __call__(self) -> Prediction:
        return self.denoiser(self.latents, SIGMA)

    def velocity(self) -> Tensor:
        """Of the video, flat."""
        return (self.latents[0] - self().x0[0]).flatten()


class Sampling:
    """A transformer on the device, prompts for it, and steps and runs of it."""

    def __init__(self, bench: Bench, transformer: Transformer | None = None) -> None:
        self.bench = bench
        self.config = bench.scale.config(bench.release, "transformer")
        self.transformer = transformer
        if transformer is None:
            self.transformer = random_network(Transformer, self.config, bench.device)

    def latents(self, width: int, height: int, shrink: int = 1) -> Pair:
        width, height, frames = self.bench.scale.size(width, height, FRAMES)
        return empty(Canvas(width, height, frames, FRAME_RATE), shrink)

    def step(self, width: int, height: int, guidance: tuple[Guidance, Guidance] = (NEUTRAL, NEUTRAL)) -> Step:
        video, audio = self.latents(width, height)
        states = start(states_of(video, audio), draw(0, video["samples"], audio["samples"]), 1.0)
        denoiser = Denoiser(self.transformer, self._prompts(guidance), states, **self._where())
        return Step(denoiser, tuple(state.latent for state in states))

    def run(self, latents: Pair, sigmas: Tensor) -> Pair:
        """A whole run without guidance, as LTX-2 Sample has it."""
        prompts = self._prompts((NEUTRAL, NEUTRAL))
        done = run(self.transformer, prompts, states_of(*latents), latents, sigmas, euler, 0, **self._where())
        return latents_of(done.states, *latents)

    def both_stages(self) -> None:
        """To 1920x1088, with the upsampler between them. Memory does not grow with steps: one or two suffice."""
        bench = self.bench
        video, audio = self.run(self.latents(1920, 1088, 2), torch.tensor([1.0, 0.7, 0.0]))
        network = random_network(Upsampler, bench.scale.upsampler, bench.device)
        vae = random_network(VideoVAE, bench.scale.config(bench.release, "vae"), bench.device)
        larger = upsample(network, video["samples"].to(bench.device), vae.statistics, dtype=bench.dtype).float().cpu()
        del network, vae
        self.run(({**video, "samples": larger}, audio), torch.tensor([0.9, 0.0]))

    def _where(self) -> dict[str, Any]:
        return {"device": self.bench.device, "dtype": self.bench.dtype, "free_memory": self.bench.free_memory()}

    def _prompts(self, guidance: tuple[Guidance, Guidance]) -> Prompts:
        config = self.config
        widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
        if config.caption_projection:
            widths = (config.caption_channels,) * 2
        positive, negative = (Context(*(torch.randn(1, SLOTS, width) for width in widths)) for _ in range(2))
        return Prompts(positive, negative, *(one.fitted(config) for one in guidance))


class Items:
    """Everything that is measured, in the order of `gpu.our_items`: one transformer is on the device at a time.

    Attributes:
        milliseconds: Of the resident bf16 transformer, by id.
        peaks: GB in all of what a clip needs beside its sampling.
        kind: What transformer there is: "bf16", "fp8", "from RAM" or "compiled".
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.milliseconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}
        self.kind = "bf16"

    @cached_property
    def sampling(self) -> Sampling:
        return Sampling(self.bench)

    def ceilings(self) -> Iterator[Row]:
        """What the device reaches at best: one large product, and attention of a clip of 1920x1088x121 to itself."""
        bench = self.bench
        side, tokens = (64, 64) if bench.scale.is_tiny else (8192, 32640)
        a, b = (torch.randn(side, side, device=bench.device, dtype=bench.dtype) for _ in range(2))
        yield _ceiling(bench, f"product of {side}x{side} matrices", lambda: a @ b, 2 * side**3)
        q, k, v = torch.randn(3, 1, 32, tokens, 128, device=bench.device, dtype=bench.dtype)
        for name, backend in BACKENDS.items():
            why = "slow and large" if name == "torch math" else backend.fails_on(bench.device, bench.dtype)
            try:
                if not why:
                    call, what = partial(backend.attend, q, k, v), f"attention of {tokens} tokens, {name}"
                    yield _ceiling(bench, what, call, 4 * tokens**2 * 32 * 128)
            except RuntimeError as error:  # a kernel that is there and refuses
                why = str(error).partition("\n")[0]
            if why:
                print(f"H0     attention, {name}: {why}")

    def prompt(self) -> Iterator[Row]:
        bench = self.bench
        gemma = random_network(Gemma3, bench.scale.gemma, bench.device)
        connectors = random_network(TextConnectors, bench.scale.config(bench.release, "connectors"), bench.device)
        milliseconds = bench.milliseconds(lambda: encode_prompt(gemma, connectors, self._tokens, dtype=bench.dtype))
        self.peaks["prompt"] = bench.peak_gb(
            lambda: encode_prompt(gemma, connectors, self._tokens, dtype=bench.dtype), with_held=True
        )
        yield _row(bench, "H10", "encode a prompt of 200 tokens, resident", "ms", milliseconds, 60.0)

    def streamed_prompt(self) -> Iterator[Row]:
        """All but Gemma's layers is on the device, as hosts have it."""
        encoder, streaming = streamed_text_encoder(self.bench)
        read = partial(encode_prompt, encoder.gemma, encoder.connectors, self._tokens, dtype=self.bench.dtype)
        peak = self.peaks["prompt, layers from RAM"] = self.bench.peak_gb(read, with_held=True)
        streaming.release()
        yield Row("H10", "encode a prompt of 200 tokens, layers from RAM: peak in all", "GB", peak, None, None, "ours")

    def decoding(self) -> Iterator[Row]:
        bench = self.bench
        for release in ("2.0", "2.3"):
            bench.empty_cache()
            decode, to_file, frames = _decoding(bench, release)
            peak = bench.peak_gb(decode)
            each = bench.milliseconds(decode, rounds=2, warmups=0) / frames
            yield _row(bench, "H8", f"decode 1920x1088x121, {release}, per frame", "ms", each, 1000 / 60)
            yield _row(bench, "H8", f"decode 1920x1088x121, {release}, peak beside weights", "GB", peak, 4.0)
        self.peaks["frames"] = bench.peak_gb(to_file, with_held=True)
        each = bench.once(to_file) / frames
        yield Row("H8", f"decode 1920x1088x121, {release}, to mp4, per frame", "ms", each, None, None, "ours")

    def forward(self, id: str, width: int, height: int, goal: float) -> Iterator[Row]:
        size = f"{width}x{height}x{FRAMES}"
        call = self.sampling.step(width, height)
        milliseconds = self.milliseconds[id] = self.bench.milliseconds(call, rounds=3)
        yield _row(self.bench, id, f"one forward, {size}", "ms", milliseconds, goal)
        ideal = _forward_flops(self.bench, width, height) / (TFLOPS * 1e9)
        yield Row(id, f"the same; peer: its products at {TFLOPS} TFLOP/s", "ms", milliseconds, ideal, None, "ratio")
        if id == "H2":
            yield from _ratio(self.bench, id, f"one forward, {size}", "ms", milliseconds, 0.7)
            found = profiled(f"one forward, {size}", call, self.bench.device)
            print("\n".join(lines(found, milliseconds)))
            self.bench.notes.append({**found, "milliseconds": milliseconds})
        if id == "H4":
            peak = self.bench.peak_gb(call)
            yield _row(self.bench, id, f"one forward, {size}, peak beside weights", "GB", peak, 2.2)

    def guided(self) -> Iterator[Row]:
        what, call = "guided step of four passes, 768x512x121", self.sampling.step(768, 512, GUIDANCE)
        self.milliseconds["H5"] = self.bench.milliseconds(call, rounds=3, warmups=1)
        seconds = self.milliseconds["H5"] / 1e3
        yield _row(self.bench, "H5", what, "s", seconds, 1.05)
        yield from _ratio(self.bench, "H5", what, "s", seconds, 0.65)

    def guided_run(self) -> Iterator[Row]:
        guided = self._resident("H5")
        last = self.bench.milliseconds(self.sampling.step(1536, 1024), rounds=2, warmups=1)
        seconds = (30 * guided + 3 * last) / 1e3
        yield _row(self.bench, "H7", "30 guided + 3 steps, 1536x1024x121, by their times", "s", seconds, 37.0)

    def distilled(self, width: int, height: int, goal: float) -> Iterator[Row]:
        """Both stages without what is between them."""
        stages = [(self.sampling.latents(width, height, shrink), stage) for shrink, stage in ((2, 1), (1, 2))]
        taken = sum(
            self.bench.once(lambda: self.sampling.run(latents, distilled_schedule(stage)))  # noqa: B023 - called at once
            for latents, stage in stages
        )
        yield _row(self.bench, "H6", f"distilled, 8 + 3 steps, {width}x{height}x121", "s", taken / 1e3, goal)

    def fused(self) -> Iterator[Row]:
        """The same transformer with fused operations, then plain again."""
        check_fused(self.bench.device)
        step = self.sampling.step(768, 512)
        plain, before = step.velocity().double(), self.bench.milliseconds(step, rounds=3)
        use_operations(self.sampling.transformer, FUSED)
        milliseconds = self.bench.milliseconds(step, rounds=3)
        off = float((step.velocity().double() - plain).abs().max() / plain.std())
        use_operations(self.sampling.transformer, PLAIN)
        yield Row(
            "H2",
            "one forward, 768x512x121, fused operations; peer: plain ones",
            "ms",
            milliseconds,
            before,
            None,
            "ratio",
        )
        yield Row("H2", "the same: largest difference of velocities, by their deviation", "", off, None, None, "ours")

    def recorded(self) -> Iterator[Row]:
        """The same transformer with recorded steps, then plain again."""
        check_graphs(self.bench.device)
        before = self._resident("H1")
        record_calls(self.sampling.transformer)
        step = self.sampling.step(384, 256)
        self.sampling.transformer.recorder = None
        plain = step.velocity().double()  # the first of its kind is never recorded
        milliseconds = self.bench.milliseconds(step)
        off = float((step.velocity().double() - plain).abs().max() / plain.std())
        yield Row("H1", "one forward, 384x256x121, CUDA graph; peer: without", "ms", milliseconds, before, 75.0, "ours")
        yield Row("H1", "the same: largest difference of velocities, by their deviation", "", off, None, None, "ours")

    def fp8(self) -> Iterator[Row]:
        """From here on the transformer is one of fp8."""
        before, step = self._resident("H2"), self.sampling.step(768, 512)
        plain = step.velocity()
        put_in_fp8(self.sampling.transformer, self.bench)
        self.kind = "fp8"
        milliseconds = self.bench.milliseconds(step, rounds=3)
        yield Row("H12", "one forward, 768x512x121, fp8; peer: bf16", "ms", milliseconds, before, 0.75, "ratio")
        off = 1 - float(torch.cosine_similarity(plain.double(), step.velocity().double(), dim=0))
        yield Row("H12", "the same: 1 - cosine of the velocities, random weights", "", off, None, 1e-3, "ours")

    def streamed(self) -> Iterator[Row]:
        """From here on the transformer is one whose blocks come from RAM."""
        self._give_up_the_transformer()
        config = self.bench.scale.config(self.bench.release, "transformer")
        self.sampling = Sampling(self.bench, streamed_transformer(self.bench, config))
        self.kind = "from RAM"
        for id, width, height, guidance, goal, most in STREAMED:
            step = self.sampling.step(width, height, guidance)
            milliseconds = self.bench.milliseconds(step, rounds=2, warmups=1)
            peak = self.bench.peak_gb(step, with_held=True)
            what = f"{'four passes' if guidance is GUIDANCE else 'one pass'}, {width}x{height}x121, blocks from RAM"
            yield Row("H11", f"{what}; peer: resident", "ms", milliseconds, self._resident(id), goal, "ratio")
            if most is not None:
                yield Row("H11", f"{what}: peak in all", "GB", peak, None, most, "ours")

    def compiled(self) -> Iterator[Row]:
        """From here on the transformer is a compiled one."""
        if self.bench.scale.is_tiny:
            raise UnavailableError("compiling takes longer than all the rest at tiny size")
        eager = self._resident("H1")
        self._give_up_the_transformer()
        check_compiler(self.bench.device)
        compile_blocks(self.sampling.transformer)
        self.kind = "compiled"
        milliseconds = self.bench.milliseconds(self.sampling.step(384, 256), rounds=3)
        yield Row("H1", "one forward, 384x256x121, compiled; peer: eager", "ms", milliseconds, eager, 75.0, "ours")

    def whole(self, kind: str, prompt: str, goal: float) -> Iterator[Row]:
        """A two-stage clip with a transformer of this kind; networks of one stage are gone before the next."""
        lacking = [name for name in (prompt, "frames") if name not in self.peaks]
        lacking += [f"a transformer, {kind}"] if self.kind != kind else []
        if lacking:
            raise UnavailableError(f"it needs what has not been measured: {', '.join(lacking)}")
        peaks = {name: self.peaks[name] for name in (prompt, "frames")}
        peaks["both stages"] = self.bench.peak_gb(self.sampling.both_stages, with_held=True)
        largest = max(peaks, key=peaks.__getitem__)
        what = f"two stages to 1920x1088x121, transformer {kind}, {prompt}: peak in all ({largest})"
        yield _row(self.bench, "H13", what, "GB", peaks[largest], goal)

    @property
    def _tokens(self) -> Tensor:
        return torch.ones(1, self.bench.scale.count(200), dtype=torch.long, device=self.bench.device)

    def _give_up_the_transformer(self) -> None:
        self.__dict__.pop("sampling", None)
        self.bench.empty_cache()
        self.kind = "bf16"

    def _resident(self, id: str) -> float:
        if id not in self.milliseconds:
            raise UnavailableError(f"it needs {id}, which has not been measured")
        return self.milliseconds[id]


def _decoding(bench: Bench, release: str) -> tuple[Callable[[], None], Callable[[], None], int]:
    """A decode that drops its frames on the device, one that writes them to a file, and how many frames there are."""
    vae = random_network(VideoVAE, bench.scale.config(release, "vae"), bench.device)
    width, height, frames = bench.scale.size(1920, 1088, FRAMES)
    latent = torch.randn(1, 128, 1 + (frames - 1) // 8, height // 32, width // 32).to(bench.device, bench.dtype)

    def decode() -> None:
        for _ in decode_video(vae, latent, Tiling()):
            pass

    def to_file() -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            decode_to_file(path, vae, latent, FRAME_RATE, None, crf=19, tiling=Tiling(), on_step=None)

    return decode, to_file, frames


def _forward_flops(bench: Bench, width: int, height: int) -> int:
    """Of the products of one pass: blocks are all alike, so one and two of them tell."""
    config, clip = bench.scale.config(bench.release, "transformer"), Clip(*bench.scale.size(width, height, FRAMES))
    counts = []
    for num_layers in (1, 2):
        network = ours(replace(config, num_layers=num_layers)).to(torch.bfloat16)
        inputs = our_inputs(network, clip, device="meta", dtype=torch.bfloat16)
        counts.append(flops(lambda: network(*inputs)))  # noqa: B023 - called at once
    return counts[0] + (config.num_layers - 1) * (counts[1] - counts[0])


def _ceiling(bench: Bench, what: str, call: Callable[[], object], operations: int) -> Row:
    ideal = operations / (TFLOPS * 1e9)
    return Row("H0", f"{what}; peer: at {TFLOPS} TFLOP/s", "ms", bench.milliseconds(call), ideal, None, "ratio")


def _row(bench: Bench, id: str, what: str, unit: str, value: float, goal: float) -> Row:
    return Row(id, what, unit, value, bench.peers.get((id, what)), goal, "ours")


def _ratio(bench: Bench, id: str, what: str, unit: str, value: float, goal: float) -> Iterator[Row]:
    """The same against the peer, where that has been measured."""
    if (id, what) in bench.peers:
        yield Row(id, what, unit, value, bench.peers[id, what], goal, "ratio")
