"""Samplers that know one tensor and no masks, on our token states.

ComfyUI's samplers walk a tensor (B, 1, N) from noise to x0. Ours holds the clip's latents, video before sound, as
ComfyUI packs them, and behind them the tokens of guides beside the clip. A partly kept token is m z + (1 - m) clean:
samplers walk z, which is plain noise at sigma 1, and see predictions of z; so what they do needs to know no masks, and
what is kept stays exactly as it is whatever they add.

Shapes: B batch, C channels, F H W latent frames, rows, columns, T tokens or audio latents, N numbers of one clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..latents import Latent
from ..sampling.sample import States
from ..sampling.solvers import Latents, each
from ..tokens import flatten_audio, flatten_video, unflatten_audio, unflatten_video

_NAMES = ("video", "audio")


@dataclass(frozen=True, eq=False)
class Walk:
    """The token states of a clip, and how they lie in a sampler's tensor.

    Attributes:
        states: (video, audio) before any noise; None for one that is left out.
        shapes: of their latents, [B, C, F, H, W] and [B, C, T, bins].
    """

    states: States
    shapes: tuple[tuple[int, ...] | None, ...]

    @classmethod
    def of(cls, states: States, video: Latent | None, audio: Latent | None) -> Walk:
        return cls(states, tuple(None if each is None else tuple(each["samples"].shape) for each in (video, audio)))

    def flat(self, tokens: Latents) -> Tensor:
        """Tokens (B, T, C) of each modality as (B, 1, N)."""
        return self.joined(
            tuple(
                None if state is None or one is None else one[:, : state.num_targets]
                for state, one in zip(self.states, tokens, strict=True)
            ),
            tuple(
                None if state is None or one is None else one[:, state.num_targets :]
                for state, one in zip(self.states, tokens, strict=True)
            ),
        )

    def joined(self, targets: Latents, appended: Latents) -> Tensor:
        """The clip's own tokens and those behind them, (B, T, C) each, as (B, 1, N)."""
        parts = [*self._as_latents(targets), *appended]
        return torch.cat([part.flatten(1) for part in parts if part is not None], 1)[:, None]

    def tokens(self, flat: Tensor) -> Latents:
        """(B, 1, N) as tokens (B, T, C) of each modality."""
        clip = self.clip(flat)
        targets = (
            None if clip[0] is None else flatten_video(clip[0]),
            None if clip[1] is None else flatten_audio(clip[1]),
        )
        rest = flat[:, 0, self.num_values :]
        tokens: list[Tensor | None] = []
        for state, own in zip(self.states, targets, strict=True):
            if state is None or own is None:
                tokens.append(None)
                continue
            count, width = state.num_appended, own.shape[2]
            behind, rest = rest[:, : count * width], rest[:, count * width :]
            tokens.append(torch.cat((own, behind.float().unflatten(1, (count, width))), 1) if count else own)
        return tuple(tokens)

    def clip(self, flat: Tensor) -> Latents:
        """The latents [B, C, F, H, W] and [B, C, T, bins] in (B, 1, N), without what is behind them."""
        latents: list[Tensor | None] = []
        start = 0
        for shape in self.shapes:
            size = 0 if shape is None else prod(shape[1:])
            latents.append(None if shape is None else flat[:, 0, start : start + size].reshape(shape))
            start += size
        return tuple(latents)

    @property
    def num_values(self) -> int:
        """How many numbers of (B, 1, N) are the clip's latents."""
        return sum(prod(shape[1:]) for shape in self.shapes if shape is not None)

    @property
    def start(self) -> Tensor:
        """(B, 1, N) what noise is mixed into."""
        return self.flat(tuple(None if state is None else state.latent for state in self.states))

    def seen(self, x: Latents) -> Latents:
        """The tokens that the transformer sees where a sampler has got to `x`."""
        return self._by_state(lambda state, one: state.blended(one), x)

    def unmasked(self, x0: Latents) -> Latents:
        """The x0 that a sampler is told, of one whose masked tokens were pulled to their clean latents."""

        def free(state, one):
            generated = state.mask > 0
            return torch.where(generated, (one - state.clean * (1 - state.mask)) / state.mask.where(generated, 1), one)

        return self._by_state(free, x0)

    def left(self, flat: Tensor, sigma: float) -> Latents:
        """The latents of a walk that ended at `sigma`.

        Above 0 generated tokens stay as the sampler left them, so that a next one goes on from there.

        Raises:
            LTX2Error: NaN or infinity; above 0 where tokens are partly kept, or generated behind the clip: what they
                were pulled to, and they themselves, would be lost.
        """
        tokens = self.tokens(flat)
        for name, state, one in zip(_NAMES, self.states, tokens, strict=True):
            if state is None or one is None:
                continue
            if not bool(torch.isfinite(one).all()):
                raise LTX2Error(
                    f"sampling must yield finite {name} latents; got NaN or infinity: check the model file, LoRA "
                    "strengths, guidance scales and the sampler"
                )
            own, behind = state.mask[:, : state.num_targets], state.mask[:, state.num_targets :]
            if sigma > 0 and bool(((own > 0) & (own < 1)).any() or (behind > 0).any()):
                raise LTX2Error(
                    f"sigmas must end at 0 where a mask or a guide keeps something in part; they end at {sigma:g}: "
                    "sample in one go, or in parts with LTX-2 Sample"
                )
        if sigma > 0:
            tokens = self._by_state(lambda state, one: torch.where(state.mask > 0, one, state.clean), tokens)
        else:
            tokens = self.seen(tokens)
        return self.clip(self.flat(tokens))

    def _as_latents(self, targets: Latents) -> Latents:
        video, audio = targets
        return (
            None if video is None else unflatten_video(video, self.shapes[0][2:]),
            None if audio is None else unflatten_audio(audio, self.shapes[1][1]),
        )

    def _by_state(self, function, tokens: Latents) -> Latents:
        return each(function, self.states, tokens)
