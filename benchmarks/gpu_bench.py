"""What GPU benchmarks are made of: networks with random weights on a device, clips, and clocks."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.checkpoint.release import released_config
from comfyui_ltx2.ltx2.config.section import parse
from comfyui_ltx2.ltx2.config.text import ConnectorsConfig, GemmaConfig
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.config.upsampler import UpsamplerConfig
from comfyui_ltx2.ltx2.config.video_vae import VideoVAEConfig
from comfyui_ltx2.ltx2.precision.cast import cast_at_use
from comfyui_ltx2.ltx2.tiny import configs as tiny
from counting import LiveBytes
from torch import Tensor, nn

_CONFIGS = {"transformer": TransformerConfig, "vae": VideoVAEConfig, "connectors": ConnectorsConfig}
_SECTIONS = {"connectors": "transformer"}


@dataclass(frozen=True)
class Scale:
    """Released sizes, or tiny ones that take seconds on a CPU."""

    is_tiny: bool = False

    def config(self, release: str, part: str) -> Any:
        """The config of the "transformer", the "vae" or the "connectors"."""
        found = tiny.checkpoint_config(release) if self.is_tiny else released_config(release)
        section = _SECTIONS.get(part, part)
        config = parse(_CONFIGS[part], found[section], section)
        if part == "connectors":
            config = config.with_projection_width(self.gemma.num_states * self.gemma.hidden_size)
        return config

    @property
    def gemma(self) -> GemmaConfig:
        return GemmaConfig.from_huggingface({**tiny.GEMMA, "vocab_size": 256}) if self.is_tiny else GemmaConfig()

    @property
    def upsampler(self) -> UpsamplerConfig:
        return UpsamplerConfig(mid_channels=64 if self.is_tiny else 1024)

    def size(self, width: int, height: int, frames: int) -> tuple[int, int, int]:
        return (64, 64, 9) if self.is_tiny else (width, height, frames)

    def count(self, number: int) -> int:
        """Of rounds, steps, tokens: fewer where it is tiny."""
        return min(number, 4) if self.is_tiny else number


def random_network(factory: Callable[[Any], nn.Module], config: Any, device: torch.device) -> nn.Module:
    """A network as loaders make them, with random bf16 weights on `device` and none anywhere else."""
    return filled(cast_at_use(on_meta(lambda: factory(config))), device)


def filled(network: nn.Module, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """Give what is on the meta device random numbers that keep states at their size, and move the rest."""
    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    there = _random(name, tensor, device, dtype) if tensor.is_meta else tensor.to(device)
                    tensors[name] = nn.Parameter(there, requires_grad=False) if tensors is module._parameters else there
    return network


def _random(name: str, like: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    tensor = torch.empty(like.shape, dtype=dtype, device=device)
    if like.ndim < 2:
        return tensor.fill_(1.0 if name in ("weight", "std") else 0.0)
    return tensor.normal_(std=math.prod(like.shape[1:]) ** -0.5)


@dataclass
class Bench:
    """Where and at which size things are measured, and what peers took for the same.

    Attributes:
        peers: (id, what) to a peer's number.
        notes: What is kept beside the rows: profiles.
    """

    device: torch.device
    scale: Scale = Scale()
    release: str = "2.3"
    peers: Mapping[tuple[str, str], float] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """What a host computes in: bf16 on CUDA, fp32 on a CPU."""
        return torch.bfloat16 if self.is_cuda else torch.float32

    @cached_property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def milliseconds(self, call: Callable[[], object], *, rounds: int = 5, warmups: int = 2) -> float:
        """The median of `rounds` calls behind `warmups`."""
        for _ in range(self.scale.count(warmups)):
            call()
        return statistics.median(self.once(call) for _ in range(self.scale.count(rounds)))

    def once(self, call: Callable[[], object]) -> float:
        """Milliseconds of one call, by the device's own clock where it has one."""
        if not self.is_cuda:
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize(self.device)
        return start.elapsed_time(end)

    def peak_gb(self, call: Callable[[], object], *, with_held: bool = False) -> float:
        """The most memory in a call, in GB (1e9), beside what is held before it unless that is to be counted too.

        A CPU has no such counter: results of operations are counted in its place.
        """
        if not self.is_cuda:
            with LiveBytes() as tracker:
                call()
            return tracker.peak / 1e9
        torch.cuda.synchronize(self.device)
        held = 0 if with_held else torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        call()
        torch.cuda.synchronize(self.device)
        return (torch.cuda.max_memory_allocated(self.device) - held) / 1e9

    def free_memory(self) -> int | None:
        """As a host tells it to the sampler."""
        self.empty_cache()  # what the allocator keeps counts as taken otherwise
        return torch.cuda.mem_get_info(self.device)[0] if self.is_cuda else None

    def empty_cache(self) -> None:
        if self.is_cuda:
            torch.cuda.empty_cache()

    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.is_cuda else "cpu"
