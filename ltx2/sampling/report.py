"""What a sampling run did, for the user to see: how long, how many passes, in which precision, in how much memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..precision.summary import kept_in
from .approximations import Approximation
from .run import Run

logger = logging.getLogger("ltx2")


@dataclass(frozen=True)
class Report:
    """One sampling run.

    Attributes:
        solver: Its name on the Sample node.
        passes: How often the transformer was run, each pass that guidance asked for counted.
        seconds: From the first evaluation to the last; loading is not in it.
        precision: What the transformer computed in ("bfloat16").
        weights: How many of its tensors are kept in each dtype, or packed in each format; scales are none.
        tokens: Of each modality ("video", "audio"), conditions included; None where it is left out.
        estimated_bytes: What was reserved beside the weights.
        peak_bytes: The most that was allocated on the device, weights included; None where it does not tell (CPU).
        lossy: What is not exact by choice.
    """

    solver: str
    steps: int
    passes: int
    seconds: float
    seconds_per_step: float
    precision: str
    weights: Mapping[str, int]
    device: str
    tokens: Mapping[str, int | None]
    estimated_bytes: int
    peak_bytes: int | None
    lossy: tuple[Approximation, ...] = ()

    @classmethod
    def of(
        cls,
        transformer: nn.Module,
        run: Run,
        *,
        steps: int,
        dtype: torch.dtype,
        **fields: Any,
    ) -> Report:
        """Of a run that went through `transformer`, the network itself; `fields` are the other attributes."""
        tokens = (None if state is None else state.latent.shape[1] for state in run.states)
        return cls(
            steps=steps,
            passes=run.passes,
            seconds=round(run.seconds, 3),
            seconds_per_step=round(run.seconds / max(steps, 1), 3),
            precision=_name(dtype),
            weights=dict(kept_in(transformer)),
            tokens=dict(zip(("video", "audio"), tokens, strict=True)),
            lossy=run.lossy,
            **fields,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON. An exact run has no "lossy"."""
        return {name: value for name, value in asdict(self).items() if name != "lossy" or value}

    def log(self) -> None:
        """One line at INFO."""
        peak = "" if self.peak_bytes is None else f", {self.peak_bytes / 2**30:.1f} GiB at most"
        kept = ", ".join(f"{count} in {name}" for name, count in self.weights.items())
        left_out = "".join(f"; lossy: {one}" for one in self.lossy)
        logger.info(
            "sampled %d steps of %s, %d passes, in %.1f s (%.2f s a step) on %s in %s; weights: %s%s%s",
            *(self.steps, self.solver, self.passes, self.seconds, self.seconds_per_step),
            *(self.device, self.precision, kept, peak, left_out),
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
