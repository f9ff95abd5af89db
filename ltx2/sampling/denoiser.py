"""From a noisy state and a sigma to a prediction of x0: the passes of a step, batched into one call.

Shapes: B batch, T tokens, C channels, P passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..guidance.guidance import COND, NEUTRAL, UNCOND, Guidance, Pass, combine, plan
from ..layers.modulation import Levels
from ..networks.transformer.inputs import Perturbations, StreamInput
from ..networks.transformer.model import Transformer
from ..tokens import TokenState
from .solvers import Latents, Prediction


@dataclass(frozen=True, eq=False)
class Context:
    """The text contexts of one prompt: video (1, S, Dv) and audio (1, S, Da), and whether it says nothing."""

    video: Tensor
    audio: Tensor
    is_empty: bool = False

    def __repr__(self) -> str:
        return f"<prompt of {self.video.shape[1]} slots>"


@dataclass(frozen=True, eq=False)
class Prompts:
    """The positive prompt, the negative one where guidance asks for it, and each modality's guidance."""

    positive: Context
    negative: Context | None = None
    video: Guidance = NEUTRAL
    audio: Guidance = NEUTRAL


class Denoiser:
    """x0 of both modalities at a sigma. Whatever does not change during a run is prepared once, here.

    Args:
        states: (video, audio); None for a modality that is left out. A modality whose mask is 0 everywhere is frozen:
            it is shown to the other one at sigma 0 and stays as it is.
        dtype: what the transformer computes in; state and guidance stay fp32.
    """

    def __init__(
        self,
        transformer: Transformer,
        prompts: Prompts,
        states: tuple[TokenState | None, TokenState | None],
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        guidance = (prompts.video, prompts.audio)
        self.transformer = transformer
        self.guidance = tuple(scales if state else None for scales, state in zip(guidance, states, strict=True))
        self.passes = plan(*self.guidance)
        self.perturbations = Perturbations.of(
            one.perturbation for one in self.passes for _ in range(_batch_size(states))
        )
        self.streams = tuple(
            _PreparedStream(transformer, number, state, prompts, self.passes, device or torch.device("cpu"), dtype)
            if state
            else None
            for number, state in enumerate(states)
        )

    def __call__(self, x: Latents, sigma: float) -> Prediction:
        """The guided x0 (B, T, C) of each modality, masked tokens pulled to their clean latents; and the unguided."""
        predictions = self.predictions(x, sigma)
        x0 = tuple(
            stream.state.blended(combine(guidance, by_pass)) if stream else None
            for stream, guidance, by_pass in zip(self.streams, self.guidance, predictions, strict=True)
        )
        return Prediction(x0, tuple(by_pass and by_pass.get(UNCOND, by_pass[COND]) for by_pass in predictions))

    def blend(self, x: Latents) -> Latents:
        """x with masked tokens pulled to their clean latents."""
        return tuple(
            stream.state.blended(latent) if stream else None for stream, latent in zip(self.streams, x, strict=True)
        )

    def predictions(self, x: Latents, sigma: float) -> tuple[dict[str, Tensor] | None, ...]:
        """Per modality, x0 by the name of the pass, before any arithmetic on them."""
        inputs = [
            stream.inputs(latent, sigma) if stream else None for stream, latent in zip(self.streams, x, strict=True)
        ]
        velocities = self.transformer(*inputs, self.perturbations)
        return tuple(
            stream.x0(latent, velocity, sigma) if stream else None
            for stream, latent, velocity in zip(self.streams, x, velocities, strict=True)
        )


class _PreparedStream:
    """One modality: everything of its input that stays the same from step to step."""

    def __init__(
        self,
        transformer: Transformer,
        number: int,
        state: TokenState,
        prompts: Prompts,
        passes: tuple[Pass, ...],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        name = ("video", "audio")[number]
        batch = state.latent.shape[0]
        self.state = state
        self.device, self.dtype = device, dtype
        self.passes = passes
        self.is_frozen = not bool(state.mask.any())
        self.mask_levels = Levels.of(state.mask[..., 0].repeat(len(passes), 1).to(device))
        # One table for the whole batch: its elements stand at the same positions.
        tables = transformer.rotary(getattr(transformer.config, name), state.positions[:1].to(device))
        self.rotary, self.exchange_rotary = (table.to(dtype) for table in tables)
        chosen = [prompts.negative if one.negative[number] else prompts.positive for one in passes]
        assert None not in chosen, "guidance away from a negative prompt needs one"
        self.context = torch.cat([getattr(context, name).expand(batch, -1, -1) for context in chosen]).to(device, dtype)
        self.keyframes = None if state.keyframes is None else state.keyframes[:1].to(device)

    def inputs(self, latent: Tensor, sigma: float) -> StreamInput:
        return StreamInput(
            latent=latent.to(self.device, self.dtype).repeat(len(self.passes), 1, 1),
            sigma=torch.tensor([0.0 if self.is_frozen else sigma], device=self.device),
            levels=self.mask_levels.scaled(sigma),
            context=self.context,
            rotary=self.rotary,
            exchange_rotary=self.exchange_rotary,
            keyframes=self.keyframes,
            attention_bias=self.state.attention,
        )

    def x0(self, latent: Tensor, velocity: Tensor, sigma: float) -> dict[str, Tensor]:
        """x - timestep * velocity, fp32, per pass; the timestep is each token's own."""
        timesteps = self.state.mask * sigma
        velocities = velocity.to(latent).chunk(len(self.passes))
        return {one.name: latent - timesteps * v for one, v in zip(self.passes, velocities, strict=True)}


def _batch_size(states: tuple[TokenState | None, ...]) -> int:
    return next(state.latent.shape[0] for state in states if state)
