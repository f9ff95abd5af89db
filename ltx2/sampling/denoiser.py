"""From a noisy state and a sigma to a prediction of x0: the passes of a step in one call, and their sum.

Shapes: B batch, T tokens, C channels, P passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..guidance.guidance import NEUTRAL, AnyGuidance, farthest_cfg, guidance_at
from ..guidance.plan import plan
from ..guidance.terms import COND, UNCOND, Running, combine
from ..layers.attention import KeysValues
from ..layers.modulation import Levels
from ..networks.transformer.inputs import StreamInput
from ..networks.transformer.model import Transformer
from ..networks.transformer.passes import Pass
from ..recording import as_called
from ..tokens import TokenState
from .memory import fitted, forward_of
from .solvers import Latents, Prediction
from .step_cache import StepCache, StepCaching
from .token_tiles import TokenTiling, blended, largest, tiles_of


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
    """The positive prompt, the negative one where guidance asks for it, and each modality's guidance.

    Attributes:
        passes_per_forward: How many passes of a step run together; 0 for as many as memory allows.
        caching: Which predictions may be left out; None computes every one.
        tiling: The tiles that a video is predicted in; None predicts it whole.
    """

    positive: Context
    negative: Context | None = None
    video: AnyGuidance = NEUTRAL
    audio: AnyGuidance = NEUTRAL
    passes_per_forward: int = 0
    caching: StepCaching | None = None
    tiling: TokenTiling | None = None


States = tuple[TokenState | None, TokenState | None]
Streams = tuple["_PreparedStream | None", ...]
#: Of each modality, the tensors (B, T, C) of all passes.
Found = tuple[Sequence[Tensor] | None, ...]


class Denoiser:
    """x0 of both modalities at a sigma. Whatever does not change during a run is prepared once, here.

    Args:
        states: (video, audio); None for a modality that is left out. A modality whose mask is 0 everywhere is frozen:
            it is shown to the other one at sigma 0 and stays as it is.
        dtype: what the transformer computes in; state and guidance stay fp32.
        free_memory: bytes on the device beside the weights; None for plenty.
        num_steps: of the run; a cache of steps must know it.
    """

    def __init__(
        self,
        transformer: Transformer,
        prompts: Prompts,
        states: States,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        free_memory: int | None = None,
        num_steps: int | None = None,
    ) -> None:
        self.transformer = transformer
        self.states = states
        self.guidance = (prompts.video, prompts.audio)
        asks = farthest_cfg(*self.guidance) != (1, 1)
        assert not asks or prompts.negative, "guidance away from a negative prompt needs one"
        read = (prompts.positive, prompts.negative) if asks else (prompts.positive,)
        contexts = tuple(
            tuple(getattr(prompt, name).to(device, dtype) for prompt in read) if state else ()
            for name, state in zip(("video", "audio"), states, strict=True)
        )
        fixed = prompts.passes_per_forward
        given = forward_of(largest(states, prompts.tiling), self.guidance, fixed)
        if transformer.recorder is not None and free_memory is not None:
            free_memory //= 2  # a recording keeps its memory, also while calls of another kind run
        self.forward = fitted(transformer.config, given, dtype, free_memory, fixed=bool(fixed))
        text = transformer.text(*contexts) if self.forward.keeps_text else (None, None)

        def prepared(states: States) -> Streams:
            return tuple(
                _PreparedStream(transformer, name, state, texts, keys_values, device or torch.device("cpu"), dtype)
                if state
                else None
                for name, state, texts, keys_values in zip(("video", "audio"), states, contexts, text, strict=True)
            )

        self._prepared = prepared
        self._is_frozen = tuple(state is not None and not state.mask.any() for state in states)
        self.tiles = tiles_of(states[0], prompts.tiling)
        self._call = as_called(transformer, device or torch.device("cpu"), in_tiles=bool(self.tiles))
        # Tiles are prepared where they are used: the rotary tables of a large clip are large.
        self.streams = () if self.tiles else prepared(states)
        #: How many passes have gone through the transformer so far.
        self.num_passes = 0
        assert not prompts.caching or num_steps is not None, "a cache of steps must know how many there are"
        self.cache = StepCache(prompts.caching, states, num_steps) if prompts.caching else None
        self._running = (Running(), Running())
        self._last = Prediction((None, None), (None, None))

    def __call__(self, x: Latents, sigma: float, step: int = 0) -> Prediction:
        """The guided x0 (B, T, C) of each modality, masked tokens pulled to their clean latents; and the unguided.

        A modality that guidance skips at this step has its last prediction again, and the network leaves it as it is.
        Where the cache holds, both have.
        """
        guidance = guidance_at(*self.guidance, sigma)
        updated = tuple(
            state is not None and (last is None or step % (scales.skip_step + 1) == 0)
            for state, scales, last in zip(self.states, guidance, self._last.x0, strict=True)
        )
        early, key = (lambda: self._early(x, sigma)), (guidance, updated)
        if any(updated) and not (self.cache and self.cache.holds(step, key, early)):
            video, audio = (scales if state else None for state, scales in zip(self.states, guidance, strict=True))
            wanted = tuple(new and not is_frozen for new, is_frozen in zip(updated, self._is_frozen, strict=True))
            predictions = self.predictions(x, sigma, plan(video, audio, wanted), updated)
            x0, uncond = list(self._last.x0), list(self._last.uncond)
            for n, by_pass in enumerate(predictions):
                if updated[n]:
                    x0[n] = self.states[n].blended(combine(guidance[n], by_pass, self._running[n]))
                    uncond[n] = by_pass[UNCOND if guidance[n].cfg != 1 and UNCOND in by_pass else COND]
            self._last = Prediction(tuple(x0), tuple(uncond))
        return self._last

    def blend(self, x: Latents) -> Latents:
        """x with masked tokens pulled to their clean latents."""
        return tuple(state.blended(latent) if state else None for state, latent in zip(self.states, x, strict=True))

    def predictions(
        self, x: Latents, sigma: float, passes: Mapping[str, Pass], updated: tuple[bool, bool] = (True, True)
    ) -> tuple[dict[str, Tensor] | None, ...]:
        """Per modality, x0 by the name of the pass, before any arithmetic on them."""

        def ask(streams: Streams, x: Latents) -> Found:
            inputs = self._inputs(streams, x, sigma, updated)
            velocities = self._call(*inputs, tuple(passes.values()), self.forward.at_once)
            return tuple(
                stream.x0(latent, velocity, sigma) if stream else None
                for stream, latent, velocity in zip(streams, x, velocities, strict=True)
            )

        found = self._everywhere(ask, x)
        self.num_passes += len(passes)
        return tuple(None if each is None else dict(zip(passes, each, strict=True)) for each in found)

    def _everywhere(self, ask: Callable[[Streams, Latents], Found], x: Latents) -> Found:
        """What `ask` says of the clip, or of its tiles, blended."""
        if not self.tiles:
            return ask(self.streams, x)
        (video, audio), num_tokens = self.states, x[0].shape[1]
        found = [ask(self._prepared((tile.of(video), audio)), (x[0][:, tile.index], x[1])) for tile in self.tiles]
        return blended(self.tiles, found, num_tokens)

    def _inputs(
        self, streams: Streams, x: Latents, sigma: float, updated: tuple[bool, bool]
    ) -> list[StreamInput | None]:
        return [
            stream.inputs(latent, 0.0 if is_frozen else sigma, is_updated) if stream else None
            for stream, latent, is_frozen, is_updated in zip(streams, x, self._is_frozen, updated, strict=True)
        ]

    def _early(self, x: Latents, sigma: float) -> Latents:
        """Velocities (B, T, C) for the positive prompt, were the first block the last one too."""

        def ask(streams: Streams, x: Latents) -> Found:
            velocities = self._call(*self._inputs(streams, x, sigma, (True, True)), num_blocks=1)
            return tuple(None if v is None else (v.to(latent),) for v, latent in zip(velocities, x, strict=True))

        return tuple(None if each is None else each[0] for each in self._everywhere(ask, x))


class _PreparedStream:
    """One modality: everything of its input that stays the same from step to step."""

    def __init__(
        self,
        transformer: Transformer,
        name: str,
        state: TokenState,
        contexts: tuple[Tensor, ...],
        text: tuple[tuple[KeysValues, ...], ...] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.state = state
        self.device, self.dtype = device, dtype
        self.mask_levels = Levels.of(state.mask[..., 0]).to(device)
        # One table for the whole batch: its elements stand at the same positions.
        tables = transformer.rotary(getattr(transformer.config, name), state.positions[:1].to(device))
        self.rotary, self.exchange_rotary = (table.to(dtype) for table in tables)
        self.contexts, self.text = contexts, text
        self.keyframes = None if state.keyframes is None else state.keyframes[:1].to(device)
        self.attention = None if state.attention is None else state.attention.to(device)

    def inputs(self, latent: Tensor, sigma: float, is_updated: bool) -> StreamInput:
        return StreamInput(
            latent=latent.to(self.device, self.dtype),
            sigma=torch.tensor([sigma], device=self.device),
            levels=self.mask_levels.scaled(sigma),
            contexts=self.contexts,
            rotary=self.rotary,
            exchange_rotary=self.exchange_rotary,
            keyframes=self.keyframes,
            attention_bias=self.attention,
            is_updated=is_updated,
            text=self.text,
        )

    def x0(self, latent: Tensor, velocity: Tensor, sigma: float) -> tuple[Tensor, ...]:
        """x - timestep * velocity, fp32, of each pass; the timestep is each token's own."""
        timesteps = self.state.mask * sigma
        return tuple(latent - timesteps * v for v in velocity.to(latent).split(len(latent)))
