"""Our guider as ComfyUI's SamplerCustomAdvanced calls one: its samplers walk, our denoiser says where to.

Shapes: B batch, N numbers of one clip (video, then sound, then tokens of guides), T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..ltx2.conditioning.checks import check_references
from ..ltx2.errors import LTX2Error
from ..ltx2.geometry import MAX_SEED
from ..ltx2.interop.latents import from_streams
from ..ltx2.interop.walk import Walk
from ..ltx2.latents import KEY, Clip, Latent, conditions_of, is_unfinished, states_of
from ..ltx2.sampling.approximations import approximations, log, warn
from ..ltx2.sampling.denoiser import Denoiser
from ..ltx2.sampling.given_noise import replaced
from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.limits import check_duration
from ..ltx2.sampling.memory import pass_bytes
from ..ltx2.sampling.noise import draw
from ..ltx2.sampling.schedules import check_sigmas, step_at
from .computation import Computation
from .host.bridges import bridges


class ComfyGuider:
    """A GUIDER. It holds recipes and what a LATENT does not say of the clip: frame rate and conditions.

    Attributes:
        model_patcher: What samplers and previews ask about the model.
        model_options: Of nobody but the sampler that asks.
        cfg: Only shown in ComfyUI's log.
    """

    def __init__(self, guider: Guider, clips: tuple[Clip | None, Clip | None]):
        self.guider = guider
        self._clips = clips
        self.model_patcher = bridges().sampling_model(clips[0] is not None)
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.cfg = 1.0

    @classmethod
    def with_latent(cls, guider: Guider, video: Latent | None, audio: Latent | None) -> tuple[ComfyGuider, Latent]:
        """A guider for clips with the frame rate and the conditions of these LATENTs, and both LATENTs as one.

        Raises:
            LTX2Error: what `states_of` refuses; noise of a run that has not ended.
        """
        states_of(video, audio)
        latents = [latent for latent in (video, audio) if latent is not None]
        if any(map(is_unfinished, latents)):
            raise LTX2Error(
                "latents must be clean; the run that made one stopped above 0, and its noise means something else in "
                "ComfyUI: let LTX-2 Sample end the run first"
            )
        clips = tuple(None if latent is None else latent.get(KEY) for latent in (video, audio))
        nested = bridges().nested
        joined: Latent = {"samples": nested(tuple(latent["samples"] for latent in latents))}
        if any("noise_mask" in latent for latent in latents):
            joined["noise_mask"] = nested(tuple(latent.get("noise_mask", _everything(latent)) for latent in latents))
        clip = next((clip for clip in clips if clip is not None), None)
        if clip is not None:
            joined[KEY] = clip.spent()
        if "batch_index" in latents[0]:
            joined["batch_index"] = latents[0]["batch_index"]
        return cls(guider, clips), joined

    def __repr__(self) -> str:
        return f"<{self.guider!r} for ComfyUI>"

    def sample(
        self,
        noise: Any,
        latent_image: Any,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Any = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> Any:
        """What ComfyUI's `guider.sample` does: `latent_image` with `noise` at the first sigma, walked by `sampler`.

        Raises:
            LTX2Error: samples that are not those of the clip; noise in another shape; sigmas that do not fall.
        """
        if not len(sigmas):
            return latent_image
        sigmas = check_sigmas(sigmas)
        video, audio = self._latents({"samples": latent_image, "noise_mask": denoise_mask})
        walk = Walk.of(states_of(video, audio), video, audio)
        check_duration(self.guider.transformer.config, walk.states)
        check_references(self.guider.transformer.reference_scale, conditions_of(video, audio))
        start_noise = _noise(walk, noise, seed or 0)
        shown = None if callback is None else _shown(walk, callback)
        # Samplers may draw from it: where memory runs out and they begin anew, they draw the same.
        random_state = torch.get_rng_state()

        def walked(computation: Computation) -> tuple[Tensor, Denoiser]:
            torch.set_rng_state(random_state)
            model, options = self._model(computation, walk, sigmas), {"sample_sigmas": sigmas}
            flat = sampler.sample(
                model,
                sigmas.clone(),  # uni_pc sets the last one
                {"model_options": {"transformer_options": options}, "seed": seed},
                shown,
                start_noise.clone(),
                walk.start,
                None,
                disable_pbar,
            )
            return flat, model.denoiser

        flat, denoiser = Computation.run("sample", walked)
        log(approximations(denoiser, self.guider.prompts, sigmas))
        left = walk.left(flat.float().cpu(), float(sigmas[-1]))
        return bridges().nested(tuple(latent for latent in left if latent is not None))

    def _model(self, computation: Computation, walk: Walk, sigmas: Tensor) -> _WalkedModel:
        """What the sampler of one computation calls, with the transformer ready."""
        room = pass_bytes(self.guider.transformer.config, walk.states, computation.dtype, self.guider.prompts)
        (transformer,) = computation.borrow(self.guider.transformer, activation_bytes=room)
        denoiser = Denoiser(
            transformer,
            self.guider.prompts,
            walk.states,
            device=computation.device,
            dtype=computation.dtype,
            free_memory=computation.free_bytes,
            num_steps=len(sigmas) - 1,
        )
        warn(approximations(denoiser, self.guider.prompts, sigmas))
        return _WalkedModel(self, walk, denoiser, sigmas, computation)

    def _latents(self, latent: Latent) -> tuple[Latent | None, Latent | None]:
        """What is to be sampled as our LATENTs, with the clip's frame rate and conditions."""
        given = from_streams(latent, next((clip.frame_rate for clip in self._clips if clip is not None), 0.0))
        if (given[0] is None) != (self._clips[0] is None):
            expected, got = ("a video", "sound alone") if given[0] is None else ("sound alone", "a video")
            raise LTX2Error(
                f"latent_image must hold {expected}, for which the guider was made; got {got}: connect the latent of "
                "the same LTX-2 Guider to ComfyUI"
            )
        pairs = zip(given, self._clips, strict=True)
        return tuple(each if each is None or clip is None else {**each, KEY: clip} for each, clip in pairs)


def _everything(latent: Latent) -> Tensor:
    """A mask [B, 1, ...] that generates all of a LATENT."""
    return torch.ones_like(latent["samples"][:, :1])


class _WalkedModel:
    """What a sampler calls for x0. Its attributes, but for `denoiser`, are those that samplers look at."""

    def __init__(self, guider: ComfyGuider, walk: Walk, denoiser: Denoiser, sigmas: Tensor, computation: Computation):
        self.model_patcher = guider.model_patcher
        self.inner_model = guider.model_patcher.model
        self.model_options = guider.model_options
        self.cfg = guider.cfg
        self.denoiser = denoiser
        self._walk, self._sigmas = walk, sigmas
        self._on_step = computation.on_step

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None, **_: Any) -> Tensor:
        """x0 (B, 1, N) of `x`, whose elements are all at one sigma (B,)."""
        level, steps = float(sigma.flatten()[0]), len(self._sigmas) - 1
        step = step_at(self._sigmas, level)
        self._on_step(step, steps)
        prediction = self.denoiser(self._walk.seen(self._walk.tokens(x)), level, step)
        x0 = self._walk.flat(self._walk.unmasked(prediction.x0)).to(x)
        options = model_options or {}
        # How CFG++ samplers ask for the prediction without guidance.
        for look in options.get("sampler_post_cfg_function", ()):
            uncond = self._walk.flat(prediction.uncond).to(x)
            seen = {"denoised": x0, "uncond_denoised": uncond, "sigma": sigma, "input": x, "model_options": options}
            x0 = look(seen)
        return x0


def _noise(walk: Walk, noise: Any, seed: int) -> Tensor:
    """(B, 1, N) the noise that a NOISE made, and that of guides beside the clip, as LTX-2 Sample draws it for the seed.

    Raises LTX2Error where it has not the shapes of the samples.
    """
    samples = tuple(None if shape is None else torch.empty(shape, device="meta") for shape in walk.shapes)
    num_appended = tuple(0 if state is None else state.num_appended for state in walk.states)
    drawn = draw(seed % (MAX_SEED + 1), samples[0], samples[1], num_appended)
    return walk.flat(replaced(drawn, noise, walk.shapes))


def _shown(walk: Walk, callback: Any) -> Any:
    """`callback` for previews, given the clip's latents as this ComfyUI has them there."""

    def shown(step: int, x0: Tensor, x: Tensor, total: int) -> Any:
        return callback(step, _as_shown(walk, walk.flat(walk.seen(walk.tokens(x0)))), _as_shown(walk, x), total)

    return shown


def _as_shown(walk: Walk, flat: Tensor) -> Any:
    latents = tuple(latent for latent in walk.clip(flat) if latent is not None)
    if len(latents) > 1 and not bridges().shows_nested():
        return flat[..., : walk.num_values]
    return bridges().nested(latents)
