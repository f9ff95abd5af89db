"""Configuration of the vocoder: the `vocoder` section of the metadata's config.

Generation 2.0 writes one generator flat; 2.3 nests {"vocoder": generator, "bwe": generator and analysis}.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .section import Section

_SAME_LENGTHS = (
    ("upsample_rates", "upsample_kernel_sizes"),
    ("resblock_kernel_sizes", "resblock_dilation_sizes"),
)


@dataclass(frozen=True)
class GeneratorConfig:
    """One mel-to-waveform generator: HiFi-GAN ("1") or BigVGAN ("AMP1")."""

    resblock: str = "1"
    mel_bins: int = 64
    upsample_initial_channel: int = 1024
    upsample_rates: tuple[int, ...] = (6, 5, 2, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (16, 15, 8, 4, 4)
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    use_bias_at_final: bool = True
    use_tanh_at_final: bool = True
    apply_final_activation: bool = True

    @property
    def is_antialiased(self) -> bool:
        """Snake activations at twice the rate instead of leaky ReLU."""
        return self.resblock == "AMP1"

    @classmethod
    def from_section(cls, section: Section) -> GeneratorConfig:
        section.expect(stereo=True)
        section.take("activation", "snakebeta", choices=("snakebeta",))
        config = cls(
            resblock=section.take("resblock", cls.resblock, choices=("1", "AMP1")),
            mel_bins=section.take("num_mels", cls.mel_bins, least=1),
            upsample_initial_channel=section.take("upsample_initial_channel", cls.upsample_initial_channel, least=1),
            upsample_rates=section.take("upsample_rates", cls.upsample_rates, least=1),
            upsample_kernel_sizes=section.take("upsample_kernel_sizes", cls.upsample_kernel_sizes, least=1),
            resblock_kernel_sizes=section.take("resblock_kernel_sizes", cls.resblock_kernel_sizes, least=1),
            resblock_dilation_sizes=section.take("resblock_dilation_sizes", cls.resblock_dilation_sizes, least=1),
            use_bias_at_final=section.take("use_bias_at_final", cls.use_bias_at_final),
            use_tanh_at_final=section.take("use_tanh_at_final", cls.use_tanh_at_final),
            apply_final_activation=section.take("apply_final_activation", cls.apply_final_activation),
        )
        for one, other in _SAME_LENGTHS:
            lengths = len(getattr(config, one)), len(getattr(config, other))
            if lengths[0] != lengths[1]:
                section.problems.append(
                    f"{section.path}: {one} and {other} must have the same length; got {lengths[0]} and {lengths[1]}"
                )
        return config


@dataclass(frozen=True)
class ExtensionConfig:
    """Bandwidth extension: analyse the low-rate waveform, generate what is missing at the high rate."""

    generator: GeneratorConfig
    fft_length: int = 512
    hop_length: int = 80
    input_sampling_rate: int = 16000
    output_sampling_rate: int = 48000

    @classmethod
    def from_section(cls, section: Section) -> ExtensionConfig:
        config = cls(
            generator=GeneratorConfig.from_section(section),
            fft_length=section.take("n_fft", cls.fft_length, least=1),
            hop_length=section.take("hop_length", cls.hop_length, least=1),
            input_sampling_rate=section.take("input_sampling_rate", cls.input_sampling_rate, least=1),
            output_sampling_rate=section.take("output_sampling_rate", cls.output_sampling_rate, least=1),
        )
        section.expect(win_size=config.fft_length)
        produced = math.prod(config.generator.upsample_rates) * config.input_sampling_rate
        if produced != config.hop_length * config.output_sampling_rate:
            section.problems.append(
                f"{section.path}: the product of upsample_rates {list(config.generator.upsample_rates)} must be "
                f"hop_length * output_sampling_rate / input_sampling_rate = {config.hop_length} * "
                f"{config.output_sampling_rate} / {config.input_sampling_rate}"
            )
        return config


@dataclass(frozen=True)
class VocoderConfig:
    """The whole vocoder: one generator, and from 2.3 on the bandwidth extension behind it."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    extension: ExtensionConfig | None = None
    sampling_rate: int = 24000  # Hz of the waveform that comes out

    @classmethod
    def from_section(cls, section: Section) -> VocoderConfig:
        if "vocoder" not in section.raw and "bwe" not in section.raw:
            return cls(
                GeneratorConfig.from_section(section),
                sampling_rate=section.take("output_sampling_rate", cls.sampling_rate, least=1),
            )
        for part in ("vocoder", "bwe"):
            if part not in section.raw:
                section.problems.append(f"{section.path}.{part} is required beside its counterpart and absent")
        extension = ExtensionConfig.from_section(section.child("bwe"))
        return cls(GeneratorConfig.from_section(section.child("vocoder")), extension, extension.output_sampling_rate)
