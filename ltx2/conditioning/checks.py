"""Inputs that run and do not do what they seem to."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import Tensor

from ..errors import LTX2Error
from .frames import Condition
from .references import ReferenceSound, ReferenceVideo

logger = logging.getLogger("ltx2")


def check_mask(mask: Tensor) -> None:
    """Raises LTX2Error where a mask of any shape holds NaN."""
    if bool(mask.isnan().any()):
        raise LTX2Error("every value of a mask must be a number; got NaN: check the node that made the mask")


def check_references(reference_scale: tuple[int, int] | None, conditions: Iterable[Condition]) -> None:
    """Warn where a transformer and the latents that it is to sample disagree about references.

    Args:
        reference_scale: TransformerRecipe.reference_scale; None without an IC-LoRA.
        conditions: of the video and audio latents.
    """
    conditions = tuple(conditions)
    has_video = any(isinstance(condition, ReferenceVideo) for condition in conditions)
    if reference_scale is None and has_video:
        logger.warning(
            "a reference video is given, but no LoRA of the transformer states that it was trained on references: "
            "add the IC-LoRA, or expect the reference to do little"
        )
    elif reference_scale is not None and not any(
        isinstance(condition, ReferenceVideo | ReferenceSound) for condition in conditions
    ):
        logger.warning(
            "the transformer has an IC-LoRA, but no reference is given: add LTX-2 Video Reference, or sample with the "
            "transformer without the LoRA"
        )
