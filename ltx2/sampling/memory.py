"""What one step of a sampling run takes, and how many of its passes fit into a device's memory at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ..config.transformer import TransformerConfig
from ..guidance.guidance import NEUTRAL, AnyGuidance, farthest_cfg, guidance_at
from ..guidance.plan import plan
from ..runtime.estimates import Forward, forward_bytes
from ..tokens import TokenState
from .token_tiles import largest

if TYPE_CHECKING:
    from .denoiser import Prompts

# Of what is free: estimates are within 15 %, and libraries want some workspace of their own.
USED_SHARE = 0.85
_INTERVALS = ("cfg_sigmas", "stg_sigmas", "modality_sigmas")
States = tuple[TokenState | None, TokenState | None]


def pass_bytes(config: TransformerConfig, states: States, dtype: torch.dtype, prompts: Prompts | None = None) -> int:
    """What a run needs at the least beside the weights: its passes run one at a time, or as many as `prompts` ask for.

    Without `prompts` there is one pass.
    """
    if prompts is None:
        return forward_bytes(config, forward_of(states, (NEUTRAL, NEUTRAL)), dtype)
    given = forward_of(largest(states, prompts.tiling), (prompts.video, prompts.audio), prompts.passes_per_forward)
    return forward_bytes(config, given, dtype)


def forward_of(states: States, guidance: tuple[AnyGuidance, AnyGuidance], passes_per_forward: int = 0) -> Forward:
    """The largest forward call of a run, its passes one at a time unless `passes_per_forward` says otherwise."""
    some = next(state for state in states if state is not None)
    passes = most_passes(states, guidance)
    return Forward(
        tokens=tuple(0 if state is None else state.latent.shape[1] for state in states),
        levels=tuple(1 if state is None else len(state.mask.unique()) for state in states),
        clips=some.latent.shape[0],
        passes=passes,
        at_once=min(passes_per_forward or 1, passes),
        prompts=1 if farthest_cfg(*guidance) == (1, 1) else 2,
    )


def most_passes(states: States, guidance: tuple[AnyGuidance, AnyGuidance]) -> int:
    """The most passes that a step needs at any noise level."""
    tables = [table.rows for table in guidance]
    ends = {end for rows in tables for _, row in rows for name in _INTERVALS for end in getattr(row, name) or ()}
    # What holds within closed intervals holds most where one of them, or a row of the table, begins.
    sigmas = ends | {start for rows in tables for start, _ in rows}
    wanted = tuple(state is not None and bool(state.mask.any()) for state in states)
    counts = []
    for sigma in sigmas:
        pair = guidance_at(*guidance, sigma)
        video, audio = (scales if state else None for scales, state in zip(pair, states, strict=True))
        counts.append(len(plan(video, audio, wanted)))
    return max(counts)


def fitted(config: TransformerConfig, given: Forward, dtype: torch.dtype, free: int | None, *, fixed: bool) -> Forward:
    """`given` with as many passes at once, and the text kept where no noise level enters it, as `free` bytes allow.

    Args:
        free: None for plenty, as where memory is not told (CPU).
        fixed: whether the number of passes at once is settled.
    """
    free = None if free is None else int(free * USED_SHARE)
    if not (config.text_modulation and config.prompt_modulation):
        keeping = replace(given, keeps_text=True)
        # Without room for it beside a pass, every step makes it anew.
        if free is None or forward_bytes(config, keeping, dtype) <= free:
            given = keeping
    if fixed:
        return given
    counts = range(given.passes, 1, -1)
    options = (replace(given, at_once=count) for count in counts)
    return next((one for one in options if free is None or forward_bytes(config, one, dtype) <= free), given)
