"""What makes a run less than exact by choice: what it saves, and where it cannot help."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..guidance.guidance import AnyGuidance, Guidance, guidance_at
from ..guidance.plan import plan
from ..layers.attention import Attention
from ..layers.attention_backends import BACKENDS
from .denoiser import Denoiser, Prompts

logger = logging.getLogger("ltx2")

#: Below so many steps each one changes the clip too much to be left out; distilled models take eight.
FEW_STEPS = 16
#: Of 1920x1088x121, which one call predicts in 2 GB.
FEW_TOKENS = 16 * 34 * 60
_TERMS = {"cfg": 1.0, "stg": 0.0, "modality": 1.0}
_EVERYWHERE = (0.0, 1.0)
_WARNINGS = {
    "off": "a threshold of 0 reuses nothing: set one above 0 for every modality, or take the node out",
    "no_steps": "no step lies between those at either end that are always computed: take more steps, or the node out",
    "few_steps": f"it needs {FEW_STEPS} steps or more, for fewer change the clip too much each: switch it off",
    "few_tokens": "no tiles are needed up to 1920x1088x121: take the node out",
    "never": "a term of guidance holds at no noise level of this run: widen its sigmas, or make it neutral",
}


@dataclass(frozen=True)
class Approximation:
    """One way in which a run is not exact.

    Attributes:
        kind: "step_cache", "skip_step", "guidance_interval", "token_tiling" or "low_bit_attention".
        counts: What is left out, "saved" of all ("of"): predictions, steps or passes. "video" and "audio" are how often
            either modality has its last prediction again (in a cache: would have, if it were for that one alone). Of
            tiles: the tokens that are seen at once, "most", of all. Of attention: its "layers" that compute in fewer
            bits than they are given, of all.
        note: Why it cannot help, a key of the warnings; None where it can.
    """

    kind: str
    counts: Mapping[str, int | None] = field(default_factory=dict)
    note: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {next(iter(self.counts.values()))} of {self.counts['of']}"


def approximations(denoiser: Denoiser, prompts: Prompts, sigmas: Tensor) -> tuple[Approximation, ...]:
    """What is approximate in a run over `sigmas`; what a cache left out is known when it has ended."""
    present = tuple(state is not None for state in denoiser.states)
    found = (
        _step_cache(denoiser, prompts, sigmas),
        _skip_step(prompts, sigmas, present),
        _guidance_interval(prompts, sigmas, present),
        _token_tiling(denoiser),
        _low_bit_attention(denoiser),
    )
    return tuple(one for one in found if one is not None)


def warn(found: tuple[Approximation, ...]) -> None:
    """Say in the log what cannot help, and why."""
    for one in found:
        if one.note:
            logger.warning("%s: %s", one.kind, _WARNINGS[one.note])


def log(found: tuple[Approximation, ...]) -> None:
    """One line at INFO for each, for runs without a report."""
    for one in found:
        logger.info("lossy: %s", one)


def _step_cache(denoiser: Denoiser, prompts: Prompts, sigmas: Tensor) -> Approximation | None:
    caching, cache, num_steps = prompts.caching, denoiser.cache, len(sigmas) - 1
    if caching is None or cache is None:
        return None
    note = "few_steps" if num_steps < FEW_STEPS else None
    if num_steps <= caching.first_steps + caching.last_steps:
        note = "no_steps"
    if not cache.is_on:
        note = "off"
    counts = {"saved": cache.hits, "of": cache.asked, "video": cache.agreed[0], "audio": cache.agreed[1]}
    return Approximation("step_cache", counts, note)


def _skip_step(prompts: Prompts, sigmas: Tensor, present: tuple[bool, ...]) -> Approximation | None:
    """All predictions of a step are left out together, so steps are counted."""
    reused = []
    for step, sigma in enumerate(sigmas[:-1].tolist()):
        guidance = guidance_at(prompts.video, prompts.audio, sigma)
        reused.append([step % (scales.skip_step + 1) != 0 for scales in guidance])
    columns = [[step[n] for step in reused] if has else None for n, has in enumerate(present)]
    if not any(any(column) for column in columns if column):
        return None
    saved = sum(all(each) for each in zip(*(column for column in columns if column is not None), strict=True))
    video, audio = (None if column is None else sum(column) for column in columns)
    note = "few_steps" if len(reused) < FEW_STEPS else None
    return Approximation("skip_step", {"saved": saved, "of": len(reused), "video": video, "audio": audio}, note)


def _guidance_interval(prompts: Prompts, sigmas: Tensor, present: tuple[bool, ...]) -> Approximation | None:
    """Passes of one prediction a step, skip_step not counted."""
    rows = [row for table in (prompts.video, prompts.audio) for _, row in table.rows]
    if all(getattr(row, f"{term}_sigmas") in (None, _EVERYWHERE) for row in rows for term in _TERMS):
        return None
    levels = sigmas[:-1].tolist()
    limited = [_terms(prompts.video, prompts.audio, sigma, present) for sigma in levels]
    video, audio = (_unlimited(table) for table in (prompts.video, prompts.audio))
    everywhere = [_terms(video, audio, sigma, present) for sigma in levels]
    counts = [sum(len(plan(*pair)) for pair in pairs) for pairs in (limited, everywhere)]
    asked, held = (_asking(pairs) for pairs in (everywhere, limited))
    return Approximation(
        "guidance_interval", {"saved": counts[1] - counts[0], "of": counts[1]}, "never" if asked - held else None
    )


def _token_tiling(denoiser: Denoiser) -> Approximation | None:
    video = denoiser.states[0]
    if video is None or not denoiser.tiles:
        return None
    num_tokens = video.latent.shape[1]
    most = max(len(tile.index) for tile in denoiser.tiles)
    counts = {"most": most, "of": num_tokens, "tiles": len(denoiser.tiles)}
    return Approximation("token_tiling", counts, "few_tokens" if num_tokens <= FEW_TOKENS else None)


def _low_bit_attention(denoiser: Denoiser) -> Approximation | None:
    lossy = [backend.attend for backend in BACKENDS.values() if backend.is_lossy]
    named = denoiser.transformer.named_modules()
    kernels = {name: module.kernel for name, module in named if isinstance(module, Attention)}
    # Self-attention with a bias stays with torch's own kernel.
    streams = zip(("video", "audio"), denoiser.states, strict=True)
    exact = tuple(f"{name}.self_attention" for name, state in streams if state is not None and state.attention)
    layers = sum(kernel in lossy and not name.endswith(exact) for name, kernel in kernels.items())
    return Approximation("low_bit_attention", {"layers": layers, "of": len(kernels)}) if layers else None


def _terms(
    video: AnyGuidance, audio: AnyGuidance, sigma: float, present: tuple[bool, ...]
) -> tuple[Guidance | None, ...]:
    return tuple(one if has else None for one, has in zip(guidance_at(video, audio, sigma), present, strict=True))


def _unlimited(table: AnyGuidance) -> AnyGuidance:
    return table.each(lambda one: replace(one, **{f"{term}_sigmas": _EVERYWHERE for term in _TERMS}))


def _asking(pairs: list[tuple[Guidance | None, ...]]) -> set[tuple[int, str]]:
    """(modality, term) of every term that is away from neutral at some noise level."""
    return {
        (n, term)
        for pair in pairs
        for n, one in enumerate(pair)
        for term, neutral in _TERMS.items()
        if one is not None and getattr(one, term) != neutral
    }
