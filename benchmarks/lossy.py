"""What the approximations that can be switched on save, and how far they are from the exact run.

Measured with random weights on a small transformer: they answer to noise levels far more wildly than trained ones, so
neither the errors nor the thresholds say what to expect of a released model. What each saves at its setting is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from comfyui_ltx2.ltx2.guidance.guidance import Guidance
from comfyui_ltx2.ltx2.latents import Clip, states_of
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from comfyui_ltx2.ltx2.sampling.denoiser import Context, Prompts
from comfyui_ltx2.ltx2.sampling.memory import pass_bytes
from comfyui_ltx2.ltx2.sampling.run import Run, run
from comfyui_ltx2.ltx2.sampling.schedules import ltx2_schedule
from comfyui_ltx2.ltx2.sampling.solvers import euler
from comfyui_ltx2.ltx2.sampling.step_cache import StepCaching
from comfyui_ltx2.ltx2.sampling.token_tiles import TokenTiling
from comfyui_ltx2.ltx2.tokens import audio_state, video_state
from counting import machine
from peers import ours, transformer_config
from report import Row

SMALL = {
    "num_layers": 4,
    "num_heads": 4,
    "head_dim": 32,
    "cross_attention_dim": 128,
    "audio_num_heads": 4,
    "audio_head_dim": 16,
    "audio_cross_attention_dim": 64,
}
GRID, SOUND, SLOTS = (4, 4, 6), 26, 32
LARGE = (3840, 2176, 121)
STEPS = {"30 steps": 30, "8 steps": 8}
GUIDED = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({2}), modality=3.0, rescale=0.7)
WEIGHTS = "random weights"


@dataclass(frozen=True)
class Case:
    """One approximation, by what it changes in the exact run's prompts."""

    name: str
    caching: StepCaching | None = None
    guidance: Guidance = GUIDED
    tiling: TokenTiling | None = None


_NOISY = dict.fromkeys(("cfg_sigmas", "stg_sigmas", "modality_sigmas"), (0.9, 1.0))
CASES = (
    *(Case(f"step cache {threshold:g}", StepCaching(threshold, threshold)) for threshold in (0.5, 1.0, 2.0)),
    Case("skip_step 1", guidance=replace(GUIDED, skip_step=1)),
    Case("guidance down to 0.9", guidance=replace(GUIDED, **_NOISY)),
    Case("token tiling 2x1", tiling=TokenTiling(2, 1, 64)),
)


@dataclass(frozen=True)
class Found:
    """Of one case: passes of it and of the exact run, and the relative errors of its latents."""

    case: Case
    steps: str
    passes: int
    exact: int
    errors: tuple[float, float]


def measured() -> Iterator[Found]:
    """Every case beside the exact run, from the same noise."""
    network, prompt = _network(), _prompt()
    for steps, count in STEPS.items():
        exact = sampled(network, Prompts(prompt[0], prompt[1], GUIDED, GUIDED), count)
        for case in CASES:
            prompts = Prompts(*prompt, case.guidance, case.guidance, caching=case.caching, tiling=case.tiling)
            done = sampled(network, prompts, count)
            pairs = zip(done.states, exact.states, strict=True)
            errors = tuple(float((a.latent - b.latent).norm() / b.latent.norm()) for a, b in pairs)
            yield Found(case, steps, done.passes, exact.passes, errors)


@torch.no_grad()
def _network() -> Transformer:
    torch.manual_seed(1)
    network = ours(transformer_config("2.3", **SMALL)).to_empty(device="cpu").float()
    for parameter in network.parameters():
        parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return network


def _prompt() -> tuple[Context, Context]:
    generator = torch.Generator().manual_seed(2)
    video, audio = SMALL["cross_attention_dim"], SMALL["audio_cross_attention_dim"]
    made = (tuple(torch.randn(1, SLOTS, width, generator=generator) for width in (video, audio)) for _ in "pn")
    positive, negative = (Context(*pair) for pair in made)
    return positive, negative


def sampled(network: Transformer, prompts: Prompts, steps: int) -> Run:
    """A whole run, as LTX-2 Sample makes it."""
    latents = (
        {"samples": torch.zeros(1, network.config.in_channels, *GRID), "ltx2": Clip(24.0)},
        {"samples": torch.zeros(1, 8, SOUND, network.config.audio_in_channels // 8), "ltx2": Clip(24.0)},
    )
    settings = {"device": torch.device("cpu"), "dtype": torch.float32}
    return run(network, prompts, states_of(*latents), latents, ltx2_schedule(steps), euler, 3, **settings)


def rows() -> Iterator[Row]:
    """Passes saved of the exact run's, and what that costs; memory that tiles save."""
    for found in measured():
        what = f"{found.case.name}, {found.steps} of 4 passes"
        yield Row("lossy", f"{what}; peer: exact", "passes", found.passes, found.exact, None, "ratio")
        for name, error in zip(("video", "audio"), found.errors, strict=True):
            yield Row("lossy", f"{what}, {WEIGHTS}: relative error of {name}", "error", error, None, None, "ours")

    whole, tiled = tiled_bytes()
    what = f"one pass of {'x'.join(map(str, LARGE))} in 2x2 tiles, estimated; peer: whole"
    yield Row("lossy", what, "GB", tiled / 1e9, whole / 1e9, None, "ratio")


def tiled_bytes() -> tuple[int, int]:
    """What one pass of a large clip takes beside the weights at full size, in bf16: whole, and in four tiles."""
    width, height, frames = LARGE
    grid, length = (1 + (frames - 1) // 8, height // 32, width // 32), round(25 * frames / 24)
    states = (video_state(torch.zeros(1, 128, *grid), 24.0), audio_state(torch.zeros(1, 8, length, 16)))
    prompts = Prompts(*_prompt())
    tiled = replace(prompts, tiling=TokenTiling(2, 2))
    config = transformer_config("2.3")
    whole, part = (pass_bytes(config, states, torch.bfloat16, one) for one in (prompts, tiled))
    return whole, part


def main() -> None:
    print(f"{WEIGHTS}, fp32, {SMALL['num_layers']} blocks of width {SMALL['cross_attention_dim']}; {machine()}")
    print(f"{'approximation':22} {'run':10} {'passes':>7} {'exact':>6} {'ratio':>6}  error and PSNR of video, of audio")
    for found in measured():
        parts = ", ".join(f"{error:6.3f} {_psnr(error):5.1f} dB" for error in found.errors)
        counts = f"{found.passes:7} {found.exact:6} {found.passes / found.exact:6.3f}"
        print(f"{found.case.name:22} {found.steps:10} {counts}  {parts}")
    whole, tiled = tiled_bytes()
    print(f"a pass of {'x'.join(map(str, LARGE))}, estimated: {whole / 1e9:.2f} GB, in 2x2 tiles {tiled / 1e9:.2f} GB")


def _psnr(error: float) -> float:
    """Against the exact latents' root mean square."""
    return math.inf if error == 0 else -20 * math.log10(error)


if __name__ == "__main__":
    main()
