"""Runs in parts: one stops above 0 and leaves noise in, another goes on from there as if they were one.

A LATENT whose run has not ended keeps its mask and its conditions, and under a key of its own what the next part needs
beside the noisy samples: what partly masked tokens are pulled to, and how far the tokens of conditions have come.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..tokens import TokenState, flatten_audio, flatten_video
from .sample import States
from .solvers import Latents

KEY = "ltx2_run"

Latent = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Unfinished:
    """A run that stopped above 0.

    Attributes:
        start: [B, C, F, H, W] or [B, C, T, bins] the samples it began with.
        tokens: (B, T, C) where it stopped, with the tokens of conditions.
        mask: (B, T, 1) what it generated.
        steps: How many steps it has made.
    """

    start: Tensor
    tokens: Tensor
    mask: Tensor
    steps: int

    def __repr__(self) -> str:
        return f"<stopped after {self.steps} steps>"


def at_start(latent: Latent | None, add_noise: bool) -> Latent | None:
    """`latent` as its run begins or began: with its own samples where noise is added, else with the first ones.

    Raises:
        LTX2Error: the samples have changed their size since an unfinished run began.
    """
    run = _run_of(latent)
    if latent is None or run is None:
        return latent
    if add_noise:
        return {name: value for name, value in latent.items() if name != KEY}
    if run.start.shape != latent["samples"].shape:
        raise LTX2Error(
            f"a clip must keep its size until its run has ended; it began as {list(run.start.shape)} and is "
            f"{list(latent['samples'].shape)}: end the run first, or switch add_noise on"
        )
    return {**latent, "samples": run.start}


def resumed(states: States, latents: tuple[Latent | None, Latent | None]) -> States:
    """`states` (noised) at the tokens of `latents`, which are noisy already.

    Only what is new is taken from `states`: tokens of conditions that were added since, and clean ones where the mask
    says so since.

    Raises:
        LTX2Error: conditions have gone since.
    """
    return tuple(
        _resumed(state, latent) if state and latent else None for state, latent in zip(states, latents, strict=True)
    )


def _resumed(state: TokenState, latent: Latent) -> TokenState:
    samples, run = latent["samples"].to(state.latent), _run_of(latent)
    tokens = flatten_video(samples) if samples.ndim == 5 else flatten_audio(samples)
    generated = torch.ones_like(tokens[..., :1])
    if run is not None:
        tokens = torch.cat((tokens, run.tokens[:, tokens.shape[1] :]), 1)
        generated = run.mask
    count = tokens.shape[1]
    if count > state.latent.shape[1]:
        raise LTX2Error(
            f"a clip must keep its guides until its run has ended; it began with {count} tokens and has "
            f"{state.latent.shape[1]}: connect the output of LTX-2 Sample as it is"
        )
    kept_since = (state.mask[:, :count] == 0) & (generated > 0)
    tokens = torch.where(kept_since, state.clean[:, :count], tokens)
    return replace(state, latent=torch.cat((tokens, state.latent[:, count:]), 1))


def continued(
    noise: Callable[[str, int], Latents], latents: tuple[Latent | None, Latent | None]
) -> Callable[[str, int], Latents]:
    """`noise` (of a kind and a step) from where the unfinished runs of `latents` stopped: none is drawn twice."""
    runs = [run for run in map(_run_of, latents) if run is not None]
    skipped = max((run.steps for run in runs), default=0)

    def following(kind: str, step: int) -> Latents:
        if step == 0:
            for done in range(skipped):
                noise(kind, done)
        return noise(kind, skipped + step)

    return following


def unfinished(
    results: tuple[Latent | None, Latent | None],
    latents: tuple[Latent | None, Latent | None],
    states: States,
    steps: int,
) -> tuple[Latent | None, Latent | None]:
    """`results`, the LATENTs of `states`, that a run of `steps` steps left noisy, with what the next part needs.

    `latents` are what the run was given, `at_start`.
    """
    return tuple(
        {**latent, "samples": result["samples"], KEY: _left(latent, state, steps)}
        if result and latent and state
        else None
        for result, latent, state in zip(results, latents, states, strict=True)
    )


def _left(latent: Latent, state: TokenState, steps: int) -> Unfinished:
    run = _run_of(latent)
    if run is None:
        return Unfinished(latent["samples"], state.latent, state.mask, steps)
    return Unfinished(run.start, state.latent, state.mask, run.steps + steps)


def _run_of(latent: Latent | None) -> Unfinished | None:
    run = latent.get(KEY) if isinstance(latent, dict) else None
    return run if isinstance(run, Unfinished) else None
