"""The guidance that the released models are used with, as (video, audio)."""

from __future__ import annotations

from .guidance import NEUTRAL, Guidance

PRESETS: dict[str, tuple[Guidance, Guidance]] = {
    "LTX-2 dev": (
        Guidance(cfg=3.0, stg=1.0, modality=3.0, rescale=0.7),
        Guidance(cfg=7.0, stg=1.0, modality=3.0, rescale=0.7),
    ),
    "HQ (res_2s)": (
        Guidance(cfg=3.0, modality=3.0, rescale=0.45),
        Guidance(cfg=7.0, modality=3.0, rescale=1.0),
    ),
    "audio only": (NEUTRAL, Guidance(cfg=7.0, stg=1.0, rescale=0.7)),
}
