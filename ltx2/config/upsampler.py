"""Configuration of a latent upsampler: the top level of its own file's config."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .section import Section


@dataclass(frozen=True)
class UpsamplerConfig:
    """A latent upsampler: doubles (or scales by a ratio) height and width, or doubles the frames, or both."""

    in_channels: int = 128
    mid_channels: int = 512
    num_blocks_per_stage: int = 4
    spatial_upsample: bool = True
    temporal_upsample: bool = False
    spatial_scale: float = 2.0
    rational_resampler: bool = False

    @property
    def spatial_factor(self) -> Fraction:
        """What height and width are multiplied by (a fractional result is rounded up)."""
        return Fraction(self.spatial_scale) if self.spatial_upsample else Fraction(1)

    def frames(self, latent_frames: int) -> int:
        """Latent frames that come out: 2n - 1 where time is doubled, for the first latent frame is one picture."""
        return 2 * latent_frames - 1 if self.temporal_upsample else latent_frames

    @classmethod
    def from_section(cls, section: Section) -> UpsamplerConfig:
        section.ignore("_*")
        section.expect(dims=3)
        rational = section.take("rational_resampler", cls.rational_resampler)
        config = cls(
            in_channels=section.take("in_channels", cls.in_channels, least=1),
            mid_channels=section.take("mid_channels", cls.mid_channels, least=1),
            num_blocks_per_stage=section.take("num_blocks_per_stage", cls.num_blocks_per_stage, least=1),
            spatial_upsample=section.take("spatial_upsample", cls.spatial_upsample),
            temporal_upsample=section.take("temporal_upsample", cls.temporal_upsample),
            spatial_scale=section.take(
                "spatial_scale", cls.spatial_scale, choices=(0.75, 1.5, 2.0, 4.0) if rational else (2.0,)
            ),
            rational_resampler=rational,
        )
        if not (config.spatial_upsample or config.temporal_upsample):
            section.problems.append(
                f"{section.path}: spatial_upsample or temporal_upsample must be true; both are false"
            )
        return config
