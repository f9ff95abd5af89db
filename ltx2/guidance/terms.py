"""The arithmetic of guidance on predictions of x0, fp32.

x0 = c + D(c, u) + stg (c - p) + (modality - 1)(c - m), then rescaled to the spread of c; c, u, p, m are the
conditional, unconditional (negative prompt), perturbed (self-attention left out of some blocks) and isolated (the
modalities do not see each other) predictions. D is (cfg - 1)(c - u), or one of its variants in METHODS. Every clip of a
batch is guided as if it were alone.

Shapes: predictions of one modality are (B, T, C).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .guidance import Guidance

COND, UNCOND, PERTURBED, ISOLATED_PASS = "cond", "uncond", "perturbed", "isolated"


class Running:
    """The difference of conditional and unconditional, summed up over the steps of a run with momentum."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None

    def add(self, difference: Tensor, momentum: float) -> Tensor:
        """d <- difference + momentum d."""
        self._sum = difference if self._sum is None else difference + momentum * self._sum
        return self._sum


def plain(guidance: Guidance, cond: Tensor, uncond: Tensor, running: Running) -> Tensor:
    """(cfg - 1)(c - u)."""
    return (guidance.cfg - 1) * (cond - uncond)


def star(guidance: Guidance, cond: Tensor, uncond: Tensor, running: Running) -> Tensor:
    """CFG*: (cfg - 1)(c - a u), a = <c, u> / <u, u> for each clip."""
    share = _dot(cond, uncond) / (_dot(uncond, uncond) + 1e-8)
    return (guidance.cfg - 1) * (cond - share * uncond)


def projected(guidance: Guidance, cond: Tensor, uncond: Tensor, running: Running) -> Tensor:
    """APG: (cfg - 1)(eta g_parallel + g_orthogonal) to c, for each clip; g = c - u, no longer than norm_threshold.

    With momentum the reference's weight is cfg, not cfg - 1.
    """
    difference, weight = cond - uncond, guidance.cfg - 1
    if guidance.momentum:
        difference, weight = running.add(difference, guidance.momentum), guidance.cfg
    if guidance.norm_threshold:
        length = _dot(difference, difference).sqrt()
        difference = difference * (guidance.norm_threshold / length).clamp_max(1)
    parallel = _dot(difference, cond) / _dot(cond, cond).clamp_min(1e-24) * cond
    return weight * (guidance.eta * parallel + (difference - parallel))


METHODS: dict[str, Callable[[Guidance, Tensor, Tensor, Running], Tensor]] = {
    "cfg": plain,
    "cfg_star": star,
    "apg": projected,
}


def combine(guidance: Guidance, predictions: Mapping[str, Tensor], running: Running | None = None) -> Tensor:
    """The guided x0 of one modality from the x0 of each pass. `running` lives as long as a run."""
    cond = guided = predictions[COND]
    if guidance.cfg != 1 and UNCOND in predictions:
        guided = guided + METHODS[guidance.method](guidance, cond, predictions[UNCOND], running or Running())
    for name, weight in ((PERTURBED, guidance.stg), (ISOLATED_PASS, guidance.modality - 1)):
        if weight and name in predictions:
            guided = guided + weight * (cond - predictions[name])
    if guidance.rescale and guided is not cond:
        guided = guided * (guidance.rescale * _spread(cond) / _spread(guided) + (1 - guidance.rescale))
    return guided


def _spread(x: Tensor) -> Tensor:
    """The standard deviation of everything behind the first axis, which stays."""
    return x.std(dim=tuple(range(1, x.ndim)), keepdim=True)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of everything behind the first axis, which stays."""
    return (a * b).sum(dim=tuple(range(1, a.ndim)), keepdim=True)
