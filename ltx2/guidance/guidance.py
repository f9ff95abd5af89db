"""Scales of one modality's guidance, the passes they ask for, and their sum.

x0 = c + (cfg - 1)(c - u) + stg (c - p) + (modality - 1)(c - m), then rescaled to the spread of c; c, u, p, m are the
conditional, unconditional (negative prompt), perturbed (self-attention left out of some blocks) and isolated (the
modalities do not see each other) predictions of x0, fp32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import LTX2Error
from ..networks.transformer.inputs import ISOLATED, Perturbation

COND, UNCOND, PERTURBED, ISOLATED_PASS = "cond", "uncond", "perturbed", "isolated"


@dataclass(frozen=True)
class Guidance:
    """Scales for one modality. The defaults are neutral: they cost nothing and change nothing.

    Attributes:
        cfg: Distance from the negative prompt; 1 is neutral.
        stg: Distance from the prediction with perturbed self-attention; 0 is neutral.
        stg_blocks: Blocks that are perturbed (released models: 29 in 2.0, 28 in 2.3).
        modality: Distance from the prediction without the other modality; 1 is neutral.
        rescale: How far the spread is brought back to that of the conditional prediction, 0 to 1.
    """

    cfg: float = 1.0
    stg: float = 0.0
    stg_blocks: frozenset[int] = frozenset()
    modality: float = 1.0
    rescale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cfg", "stg", "modality", "rescale"):
            if not math.isfinite(getattr(self, name)):
                raise LTX2Error(f"guidance: {name} must be a finite number; got {getattr(self, name)}")
        if self.stg and not self.stg_blocks:
            raise LTX2Error(f"guidance: stg {self.stg} needs the blocks to perturb (29 for LTX-2.0, 28 for LTX-2.3)")


NEUTRAL = Guidance()


@dataclass(frozen=True)
class Pass:
    """One run of the transformer within a step.

    Attributes:
        name: One of COND, UNCOND, PERTURBED, ISOLATED_PASS.
        negative: Whether (video, audio) see the negative prompt.
        perturbation: What the pass leaves out.
    """

    name: str
    negative: tuple[bool, bool] = (False, False)
    perturbation: Perturbation = Perturbation()


def plan(video: Guidance | None, audio: Guidance | None) -> tuple[Pass, ...]:
    """The passes that these scales need; None for a modality that is absent.

    A modality whose term is neutral is left alone in that term's pass: it keeps its positive prompt and is not
    perturbed. It matters, because the two modalities see each other.
    """
    terms = (video or NEUTRAL, audio or NEUTRAL)
    passes = [Pass(COND)]
    negative = tuple(guidance.cfg != 1 for guidance in terms)
    if any(negative):
        passes.append(Pass(UNCOND, negative=negative))
    if any(guidance.stg for guidance in terms):
        blocks = [guidance.stg_blocks if guidance.stg else frozenset() for guidance in terms]
        passes.append(Pass(PERTURBED, perturbation=Perturbation(*blocks)))
    # Alone in the model, a modality is isolated already.
    if video and audio and any(guidance.modality != 1 for guidance in terms):
        passes.append(Pass(ISOLATED_PASS, perturbation=ISOLATED))
    return tuple(passes)


def combine(guidance: Guidance, predictions: Mapping[str, Tensor]) -> Tensor:
    """The guided x0 of one modality from the x0 of each pass (B, T, C), fp32."""
    cond = predictions[COND]
    weights = {UNCOND: guidance.cfg - 1, PERTURBED: guidance.stg, ISOLATED_PASS: guidance.modality - 1}
    guided = cond
    for name, weight in weights.items():
        if weight and name in predictions:
            guided = guided + weight * (cond - predictions[name])
    if guidance.rescale and guided is not cond:
        guided = guided * (guidance.rescale * cond.std() / guided.std() + (1 - guidance.rescale))
    return guided
