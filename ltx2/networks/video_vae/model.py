"""Encoder, statistics and decoder as one: pixels to normalised latents and back.

Shapes: B batch, C latent channels, F/H/W frames, height and width in pixels, f/h/w in latents, with F = 8 (f - 1) + 1,
H = 32 h and W = 32 w in every released VAE (`config.compression` holds the factors).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...config.video_vae import VideoVAEConfig
from ...errors import LTX2Error
from .decoder import VideoDecoder
from .encoder import VideoEncoder
from .statistics import Statistics

# Share of noise in the input of a timestep-conditioned decoder, mixed in before the latent is un-normalised.
NOISE_SHARE = 0.025


class VideoVAE(nn.Module):
    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = VideoEncoder(config)
        self.statistics = Statistics(config.latent_channels)
        self.decoder = VideoDecoder(config) if config.decoder_blocks is not None else None

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, F, H, W) in [-1, 1] -> normalised latent (B, C, f, h, w), the mean of the distribution.

        Frames after the last 8k + 1 are dropped. Raises LTX2Error where H or W is no multiple of the compression.
        """
        return self.normalize(self.encoder(self.crop(pixels)))

    def decode(
        self, latent: Tensor, *, noise: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Normalised latent (B, C, f, h, w) -> (B, 3, F, H, W), about [-1, 1], not clamped.

        `noise` (as the latent) or a `generator` to draw it: what a timestep-conditioned decoder needs; others use none.
        """
        return self.require_decoder()(self.decoder_input(latent, noise=noise, generator=generator))

    def crop(self, pixels: Tensor) -> Tensor:
        """The first 8k + 1 frames, as encode sees them. Raises LTX2Error as encode does."""
        compression = self.config.compression
        for axis, size, step in zip(("height", "width"), pixels.shape[3:], compression[1:], strict=True):
            if size % step or size == 0:
                below, above = size // step * step, size // step * step + step
                nearest = f"{below} or {above}" if below else f"{above}"
                raise LTX2Error(
                    f"the {axis} of a clip must be a multiple of {step} pixels; got {size}; "
                    f"resize or crop it to {nearest}"
                )
        if pixels.shape[2] == 0:
            raise LTX2Error("a clip must have at least 1 frame; got 0; check where it was cut")
        return pixels[:, :, : (pixels.shape[2] - 1) // compression[0] * compression[0] + 1]

    def decoder_input(
        self, latent: Tensor, *, noise: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """What `decoder` takes: un-normalised and, where it is timestep-conditioned, with its noise.

        It acts element by element, so the whole latent is prepared once and then cut into tiles.
        """
        if self.config.decoder_padding_mode == "reflect" and min(latent.shape[3:]) < 2:
            step = self.config.spatial_compression
            height, width = (size * step for size in latent.shape[3:])
            raise LTX2Error(
                f"this video VAE decodes clips of at least {2 * step}x{2 * step} pixels, for its edges are mirrored; "
                f"got {width}x{height}; generate a larger clip"
            )
        if self.config.timestep_conditioning:
            if noise is None:
                noise = _draw(latent, generator)
            latent = torch.lerp(latent, noise.to(latent), NOISE_SHARE)
        return self.un_normalize(latent)

    def require_decoder(self) -> VideoDecoder:
        if self.decoder is None:
            raise LTX2Error(
                "decoding needs a video VAE with a convolutional decoder; this one has an encoder only; "
                "load the convolutional video VAE of the release"
            )
        return self.decoder

    def normalize(self, latent: Tensor) -> Tensor:
        """Encoder's scale -> transformer's scale."""
        return self.statistics.normalize(latent)

    def un_normalize(self, latent: Tensor) -> Tensor:
        """Transformer's scale -> the scale of decoder and latent upsampler."""
        return self.statistics.un_normalize(latent)


def _draw(latent: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        raise LTX2Error(
            "a timestep-conditioned video VAE needs noise or a seeded generator; got neither; pass one of them"
        )
    return torch.randn(latent.shape, generator=generator, dtype=latent.dtype, device=generator.device)
