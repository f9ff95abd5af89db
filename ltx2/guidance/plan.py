"""Which passes a step needs."""

from __future__ import annotations

from ..networks.transformer.passes import ISOLATED, Pass, Perturbation
from .guidance import NEUTRAL, Guidance
from .terms import COND, ISOLATED_PASS, PERTURBED, UNCOND

POSITIVE, NEGATIVE = 0, 1


def plan(video: Guidance | None, audio: Guidance | None, wanted: tuple[bool, bool] = (True, True)) -> dict[str, Pass]:
    """The passes that these scales need, by name; None for a modality that is absent.

    `wanted` says whose prediction is used at all: what is frozen, or reuses its last one, asks for no pass.
    A modality whose term is neutral is left alone in that term's pass: it keeps its positive prompt and is not
    perturbed. It matters, because the two modalities see each other.
    """
    terms = (video or NEUTRAL, audio or NEUTRAL)
    asking = [guidance for guidance, is_wanted in zip((video, audio), wanted, strict=True) if guidance and is_wanted]
    passes = {COND: Pass()}
    if any(guidance.cfg != 1 for guidance in asking):
        passes[UNCOND] = Pass(prompts=tuple(NEGATIVE if guidance.cfg != 1 else POSITIVE for guidance in terms))
    if any(guidance.stg for guidance in asking):
        blocks = [guidance.stg_blocks if guidance.stg else frozenset() for guidance in terms]
        assert None not in blocks, "blocks must be known: see Guidance.fitted"
        passes[PERTURBED] = Pass(perturbation=Perturbation(*blocks))
    # Alone in the model, a modality is isolated already.
    if video and audio and any(guidance.modality != 1 for guidance in asking):
        passes[ISOLATED_PASS] = Pass(perturbation=ISOLATED)
    return passes
