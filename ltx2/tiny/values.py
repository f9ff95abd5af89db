"""Values for the tensors of the tiny models: from a seed and each tensor's own name, so that order plays no part.

Weights are scaled so that signals keep their size through every network; what released files store as constants
(filters, Fourier and mel bases) is computed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from ..config.audio_vae import AudioVAEConfig
from ..networks.audio_vae.mel import mel_filters

Shape = tuple[int, ...]
Rule = Callable[[Shape, torch.Generator], Tensor]


def value(key: str, shape: Shape, seed: str) -> Tensor:
    """The tensor called `key` in the file: bf16, constants and statistics fp32."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{key}".encode()))
    rule = next(rule for pattern, rule in _RULES if fnmatchcase(key, pattern))
    tensor = rule(shape, generator)
    assert tuple(tensor.shape) == tuple(shape), key
    stays = any(fnmatchcase(key, pattern) for pattern in _FP32)
    return tensor.to(torch.float32 if stays else torch.bfloat16).contiguous()


def _around(mean: float, deviation: float) -> Rule:
    return lambda shape, generator: mean + deviation * torch.randn(shape, generator=generator)


def _by_fan_in(gain: float = 1.0, *, alike: int = 1, stride: int = 1) -> Rule:
    """N(0, gain^2 / fan in). Of `alike` neighbouring outputs, which become pixels side by side, most is common."""

    def rule(shape: Shape, generator: torch.Generator) -> Tensor:
        common = torch.randn((shape[0] // alike, *shape[1:]), generator=generator).repeat_interleave(alike, dim=0)
        own = torch.randn(shape, generator=generator)
        mixed = common if alike == 1 else math.sqrt(0.95) * common + math.sqrt(0.05) * own
        return mixed * gain / math.sqrt(math.prod(shape[1:]) / stride)

    return rule


def _transposed(gain: float) -> Rule:
    """A transposed convolution (in, out, taps): of its taps about two meet in each output."""
    return lambda shape, generator: torch.randn(shape, generator=generator) * gain / math.sqrt(2 * shape[0])


def _low_pass(shape: Shape, _: torch.Generator) -> Tensor:
    """The Kaiser-windowed sinc of the anti-aliased activations: cutoff at a quarter of the rate, transition 0.3."""
    taps, cutoff, transition = shape[-1], 0.25, 0.3
    attenuation = 2.285 * (taps // 2 - 1) * math.pi * 4 * transition + 7.95
    beta = 0.1102 * (attenuation - 8.7)  # Kaiser's formula above 50 dB, where 12 taps are
    window = torch.kaiser_window(taps, beta=beta, periodic=False, dtype=torch.float64)
    time = torch.arange(-(taps // 2), taps // 2, dtype=torch.float64) + 0.5
    response = window * torch.sinc(2 * cutoff * time)
    return (response / response.sum()).expand(shape)


def _fourier(shape: Shape, _: torch.Generator) -> Tensor:
    """Hann-windowed cosines, then negative sines."""
    rows, _, length = shape
    angle = torch.outer(torch.arange(rows // 2), torch.arange(length)) % length * (2 * math.pi / length)
    window = torch.hann_window(length, dtype=torch.float64)
    return (torch.cat((angle.cos(), -angle.sin())) * window)[:, None]


def _mel(shape: Shape, _: torch.Generator) -> Tensor:
    return mel_filters(AudioVAEConfig(mel_bins=shape[0], fft_length=2 * (shape[1] - 1))).T


def _binomial(shape: Shape, _: torch.Generator) -> Tensor:
    row = torch.tensor([math.comb(shape[-1] - 1, tap) for tap in range(shape[-1])], dtype=torch.float64)
    return (torch.outer(row, row) / row.sum() ** 2).expand(shape)


#: Shell patterns of file keys; the first that matches tells.
_RULES: tuple[tuple[str, Rule], ...] = (
    ("*.filter", _low_pass),
    ("*.stft_fn.*_basis", _fourier),
    ("*.mel_basis", _mel),
    ("*.blur_down.kernel", _binomial),
    ("*.mean-of-means", _around(0, 0.1)),
    ("*.std-of-means", _around(1, 0.05)),
    ("*scale_shift_table*", _around(0, 0.3)),
    ("*.learnable_registers", _around(0, 1)),
    ("*.embed_tokens.weight", _around(0, 0.125)),  # Gemma multiplies by sqrt(64)
    ("language_model.*norm.weight", _around(0, 0.1)),  # Gemma adds 1
    ("*norm*.weight", _around(1, 0.1)),
    ("*.act.alpha", _around(0, 0.1)),
    ("*.act.beta", _around(0, 0.1)),
    ("*bias", _around(0, 0.05)),
    # A mean over a thousand tokens, of which a prompt is a few, is small.
    ("*embeddings_connector.*attn1.to_out.0.weight", _by_fan_in(4.0)),
    ("*attn2.to_out.0.weight", _by_fan_in(4.0)),
    ("vae.decoder.up_blocks.*.res_blocks.*", _by_fan_in(0.3)),  # little detail on top of the coarse picture
    ("vae.decoder.up_blocks.*", _by_fan_in(alike=4)),
    ("vae.decoder.conv_out.*", _by_fan_in(0.7, alike=16)),
    ("vocoder.*ups.*", _transposed(1.0)),
    ("vocoder.*.convs2.*", _by_fan_in(0.3)),  # snake activations only ever add
    ("vocoder.conv_post.*", _by_fan_in(1.0)),
    ("vocoder.bwe_generator.conv_post.*", _by_fan_in(0.02)),
    ("vocoder.*conv_post.*", _by_fan_in(0.3)),
    ("*.lora_B.weight", _by_fan_in(0.3)),
    ("*", _by_fan_in()),
)
_FP32 = ("*.filter", "*_basis", "*.blur_down.kernel", "*.mean-of-means", "*.std-of-means")
