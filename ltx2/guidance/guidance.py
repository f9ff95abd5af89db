"""Scales of one modality's guidance, when they hold, and what is meant where nothing is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from ..config.transformer import TransformerConfig
from ..errors import LTX2Error
from .terms import METHODS

#: Noise levels are written with six digits and kept in fp32.
_TOLERANCE = 1e-6
_FINITE = ("cfg", "stg", "modality", "rescale", "eta", "norm_threshold", "momentum")
_INTERVALS = ("cfg_sigmas", "stg_sigmas", "modality_sigmas")


@dataclass(frozen=True, repr=False)
class Guidance:
    """Scales for one modality. The defaults are neutral: they cost nothing and change nothing.

    In the audio's guidance None means the video's value; 0 is 0.

    Attributes:
        cfg: Distance from the negative prompt; 1 is neutral.
        stg: Distance from the prediction with perturbed self-attention; 0 is neutral.
        stg_blocks: Blocks that are perturbed; None for the release's own.
        modality: Distance from the prediction without the other modality; 1 is neutral.
        rescale: How far the spread is brought back to that of the conditional prediction, 0 to 1.
        skip_step: Steps that reuse the last prediction after each that does not.
        method: How the cfg term is made, a key of terms.METHODS.
        eta: apg: share of the part of the cfg term that is parallel to the conditional prediction.
        norm_threshold: apg: longest the difference of conditional and unconditional may be; 0 for any length.
        momentum: apg: how much of the last step's difference is carried over; negative pushes away from it.
        cfg_sigmas, stg_sigmas, modality_sigmas: (lowest, highest) noise level at which the term holds, inclusive.
    """

    cfg: float | None = 1.0
    stg: float | None = 0.0
    stg_blocks: frozenset[int] | None = None
    modality: float | None = 1.0
    rescale: float | None = 0.0
    skip_step: int | None = 0
    method: str | None = "cfg"
    eta: float | None = 1.0
    norm_threshold: float | None = 0.0
    momentum: float | None = 0.0
    cfg_sigmas: tuple[float, float] | None = (0.0, 1.0)
    stg_sigmas: tuple[float, float] | None = (0.0, 1.0)
    modality_sigmas: tuple[float, float] | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        said = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        for name in _FINITE:
            if name in said and not math.isfinite(said[name]):
                raise LTX2Error(f"guidance: {name} must be a finite number; got {said[name]}")
        if said.get("norm_threshold", 0) < 0:
            raise LTX2Error(f"guidance: norm_threshold must be 0 (off) or more; got {self.norm_threshold}")
        if said.get("skip_step", 0) < 0:
            raise LTX2Error(f"guidance: skip_step must be 0 or more; got {self.skip_step}")
        if said.get("method", "cfg") not in METHODS:
            raise LTX2Error(f"guidance: method must be one of {', '.join(METHODS)}; got {self.method}")
        if not said.get("stg_blocks", True):
            raise LTX2Error("guidance: stg_blocks must name at least one block; got none: None takes the release's own")
        for name in _INTERVALS:
            low, high = said.get(name, (0.0, 1.0))
            if not 0 <= low <= high <= 1:
                raise LTX2Error(
                    f"guidance: {name.removesuffix('_sigmas')} must hold from a start sigma down to an end sigma, "
                    f"both 0 to 1; got start {high:g}, end {low:g}: exchange them"
                )

    def __repr__(self) -> str:
        changed = [
            f"{field.name} {getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"<guidance {', '.join(changed) or 'neutral'}>"

    def each(self, change: Callable[[Guidance], Guidance]) -> Guidance:
        """`change` of this guidance."""
        return change(self)

    @property
    def rows(self) -> tuple[tuple[float, Guidance], ...]:
        """This guidance as the table that it is: from sigma 0 on."""
        return ((0.0, self),)

    def at(self, sigma: float) -> Guidance:
        """The guidance that holds at a noise level."""
        return self

    def following(self, video: Guidance) -> Guidance:
        """This guidance with the video's value wherever it says None."""
        unsaid = [field.name for field in fields(self) if getattr(self, field.name) is None]
        return replace(self, **{name: getattr(video, name) for name in unsaid})

    def within(self, sigma: float) -> Guidance:
        """This guidance without the terms whose interval does not hold sigma."""
        neutral = {"cfg": 1.0, "stg": 0.0, "modality": 1.0}
        return replace(
            self,
            **{name: value for name, value in neutral.items() if not _holds(getattr(self, f"{name}_sigmas"), sigma)},
        )

    def fitted(self, config: TransformerConfig) -> Guidance:
        """This guidance with the release's own block where it names none. Raises LTX2Error for blocks out of range."""
        default = default_stg_block(config)
        blocks = self.stg_blocks or frozenset({default})
        wrong = sorted(block for block in blocks if not 0 <= block < config.num_layers)
        if wrong:
            raise LTX2Error(
                f"guidance: stg_blocks must be 0 to {config.num_layers - 1} in this transformer; got "
                f"{', '.join(map(str, wrong))}: leave them empty for the release's own ({default})"
            )
        return replace(self, stg_blocks=blocks)


@dataclass(frozen=True, repr=False)
class GuidanceTable:
    """Guidance that changes with the noise level: rows (from sigma, guidance), falling, the last from 0."""

    rows: tuple[tuple[float, Guidance], ...]

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.rows]
        if not starts or starts[-1] != 0 or starts != sorted(set(starts), reverse=True):
            raise LTX2Error(f"a table of guidance must fall to 0; got rows from {starts}")

    def __repr__(self) -> str:
        return f"<guidance in {len(self.rows)} ranges of sigma>"

    @classmethod
    def split(cls, above: AnyGuidance, below: AnyGuidance, sigma: float) -> GuidanceTable:
        """`above` from sigma on, `below` under it; either may be a table."""
        if not 0 < sigma <= 1:
            raise LTX2Error(f"guidance must change at a sigma above 0 and up to 1; got {sigma:g}")
        upper = [row for row in above.rows if row[0] > sigma]
        lower = [row for row in below.rows if row[0] < sigma]
        return cls((*upper, (sigma, above.at(sigma)), *lower))

    def each(self, change: Callable[[Guidance], Guidance]) -> GuidanceTable:
        return GuidanceTable(tuple((start, change(guidance)) for start, guidance in self.rows))

    def at(self, sigma: float) -> Guidance:
        return next(guidance for start, guidance in self.rows if sigma >= start - _TOLERANCE)


AnyGuidance = Guidance | GuidanceTable

NEUTRAL = Guidance()
#: Says nothing of its own: the video's, in every value.
FOLLOWING = Guidance(**{field.name: None for field in fields(Guidance)})


def guidance_at(video: AnyGuidance, audio: AnyGuidance, sigma: float) -> tuple[Guidance, Guidance]:
    """What guides (video, audio) at a noise level, every value said."""
    own = video.at(sigma).following(NEUTRAL)
    return own.within(sigma), audio.at(sigma).following(own).within(sigma)


def farthest_cfg(video: AnyGuidance, audio: AnyGuidance) -> tuple[float, float]:
    """The (video, audio) cfg farthest from neutral at any noise level: (1, 1) where no negative prompt is read."""
    starts = {start for guidance in (video, audio) for start, _ in guidance.rows}
    ends = {end for guidance in (video, audio) for _, row in guidance.rows for end in row.cfg_sigmas or ()}
    pairs = [guidance_at(video, audio, sigma) for sigma in starts | ends]
    return tuple(max((pair[n].cfg for pair in pairs), key=lambda cfg: abs(cfg - 1)) for n in (0, 1))


def default_stg_block(config: TransformerConfig) -> int:
    """The block that a release is perturbed in: 29 of 48 in 2.0, 28 since; likewise in networks of another depth."""
    block = 28 if config.text_modulation else 29
    return block * config.num_layers // 48


def blocks_of(text: str) -> frozenset[int] | None:
    """The blocks that a text like "28" or "14, 19" names; None for an empty one. Raises LTX2Error for anything else."""
    if not text.strip():
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise LTX2Error(f"stg_blocks must be numbers with commas between, or nothing; got '{text}' (as in: 14, 19)")
    return frozenset(map(int, words))


def _holds(interval: tuple[float, float] | None, sigma: float) -> bool:
    assert interval is not None, "every value must be said: see guidance_at"
    return interval[0] - _TOLERANCE <= sigma <= interval[1] + _TOLERANCE
