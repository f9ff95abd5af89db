"""The convolutional video VAE: clips to latents and back."""

from __future__ import annotations

from .model import VideoVAE

__all__ = ["VideoVAE"]
