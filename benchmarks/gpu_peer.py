"""What is measured of diffusers on a GPU: the same clips with its networks, as its pipelines call them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from gpu_bench import Bench, filled
from gpu_items import FRAMES
from peers import Clip, our_inputs, ours, their_inputs, twin, video_vae_twin
from report import Row


class PeerItems:
    """diffusers' transformer and video VAE with random weights."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @cached_property
    def transformer(self) -> torch.nn.Module:
        return filled(twin(self.bench.scale.config(self.bench.release, "transformer")), self.bench.device, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self.bench.dtype

    def forward(self, id: str, width: int, height: int) -> Iterator[Row]:
        what, call = f"one forward, {width}x{height}x{FRAMES}", self._forward(width, height)
        yield _row(id, what, "ms", self.bench.milliseconds(call, rounds=3))
        if id == "H4":
            yield _row(id, f"{what}, peak beside weights", "GB", self.bench.peak_gb(call))

    def guided(self) -> Iterator[Row]:
        """Both prompts in one call, then a perturbed pass and an isolated one."""
        given, network = self._inputs(768, 512), self.transformer
        both = {name: _twice(value) for name, value in given.items()}
        block = network.config.num_layers * 28 // 48  # type: ignore[union-attr]

        def step() -> None:
            network(**both)
            network(**given, spatio_temporal_guidance_blocks=[block])
            network(**given, isolate_modalities=True)

        call = _without_gradients(step)
        seconds = self.bench.milliseconds(call, rounds=3, warmups=1) / 1e3
        yield _row("H5", "guided step of four passes, 768x512x121", "s", seconds)

    def decoding(self) -> Iterator[Row]:
        self.__dict__.pop("transformer", None)
        for release in () if self.bench.scale.is_tiny else ("2.0", "2.3"):
            self.bench.empty_cache()
            vae = filled(video_vae_twin(release), self.bench.device, self.dtype)
            width, height, frames = self.bench.scale.size(1920, 1088, FRAMES)
            shape = (1, 128, 1 + (frames - 1) // 8, height // 32, width // 32)
            latent = torch.randn(shape, device=self.bench.device, dtype=self.dtype)
            decode = _without_gradients(lambda: vae.decode(latent, return_dict=False))  # type: ignore[operator]  # noqa: B023
            name, peak = f"decode 1920x1088x121, {release}", self.bench.peak_gb(decode)
            each = self.bench.milliseconds(decode, rounds=2, warmups=0) / frames
            yield _row("H8", f"{name}, per frame", "ms", each)
            yield _row("H8", f"{name}, peak beside weights", "GB", peak)

    def _forward(self, width: int, height: int) -> Callable[[], object]:
        given = self._inputs(width, height)
        return _without_gradients(lambda: self.transformer(**given))

    def _inputs(self, width: int, height: int) -> dict[str, object]:
        clip = Clip(*self.bench.scale.size(width, height, FRAMES))
        config = self.bench.scale.config(self.bench.release, "transformer")
        streams = our_inputs(ours(config), clip, device=str(self.bench.device), dtype=self.dtype)
        return their_inputs(clip, *streams)


def _without_gradients(call: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(call)


def _twice(value: object) -> object:
    return torch.cat((value, value)) if isinstance(value, torch.Tensor) else value


def _row(id: str, what: str, unit: str, value: float) -> Row:
    return Row(id, what, unit, value, None, None, "ours")
