"""The sampler."""

from __future__ import annotations

from typing import Any

from ..ltx2.conditioning.checks import check_references
from ..ltx2.latents import conditions_of, latents_of, states_of
from ..ltx2.recipe import VideoVAERecipe
from ..ltx2.sampling.given_noise import seed_of
from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.limits import check_duration
from ..ltx2.sampling.memory import pass_bytes
from ..ltx2.sampling.partial import at_start, unfinished
from ..ltx2.sampling.report import Report
from ..ltx2.sampling.run import Run, run
from ..ltx2.sampling.schedules import check_sigmas
from ..ltx2.sampling.table import SOLVERS
from . import sockets, widgets
from .computation import Computation
from .host import current
from .preview import live_preview

io = current().io


class Sample(io.ComfyNode):
    """Denoise video and sound together. Leave one unconnected for silent video, or for sound alone."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Sample",
            display_name="LTX-2 Sample",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                sockets.Guider.Input("guider", tooltip="From LTX-2 Guider."),
                io.Sigmas.Input("sigmas", tooltip="Noise levels, falling; the first one says how much noise is added."),
                io.Latent.Input("video", optional=True, tooltip="Where the picture starts."),
                io.Latent.Input("audio", optional=True, tooltip="Where the sound starts."),
                io.Combo.Input("solver", options=list(SOLVERS), default="euler", tooltip="How a step is taken."),
                widgets.seed(),
                io.Boolean.Input(
                    "add_noise",
                    default=True,
                    optional=True,
                    tooltip="Off: the latents are as noisy as the first sigma says, as LTX-2 Sample leaves them with "
                    "a schedule that ends above 0. Masks and guides are still with them: do not connect them again.",
                ),
                io.Noise.Input(
                    "noise", optional=True, tooltip="Noise of another node, such as Random Noise, instead of the seed."
                ),
                sockets.VideoVAE.Input(
                    "video_vae",
                    optional=True,
                    tooltip="For the preview while sampling, where the transformer's file holds no video VAE.",
                ),
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio"),
            ],
        )

    @classmethod
    def execute(
        cls,
        guider: Any,
        sigmas: Any,
        solver: str,
        seed: int,
        video: Any = None,
        audio: Any = None,
        add_noise: bool = True,
        noise: Any = None,
        video_vae: Any = None,
    ) -> Any:
        sockets.require(guider, Guider, "guider", "LTX-2 Guider")
        if video_vae is not None:
            sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        seed = seed if noise is None else seed_of(noise)
        sigmas = check_sigmas(sigmas)
        given = tuple(at_start(latent, add_noise) for latent in (video, audio))
        states = states_of(*given)
        check_duration(guider.transformer.config, states)
        check_references(guider.transformer.reference_scale, conditions_of(*given))
        what = {"sigmas": sigmas, "solver": solver, "seed": seed, "add_noise": add_noise, "given_noise": noise}
        done, report = Computation.run(
            "sample", lambda computation: _sampled(computation, guider, states, (video, audio), video_vae, **what)
        )
        report.log()
        results = latents_of(done.states, video, audio)
        if sigmas[-1] > 0:
            results = unfinished(results, given, done.states, steps=len(sigmas) - 1)
        return io.NodeOutput(*results, ui={"ltx2_report": [report.as_dict()]})


def _sampled(
    computation: Computation,
    guider: Guider,
    states: Any,
    latents: tuple[Any, Any],
    video_vae: VideoVAERecipe | None,
    *,
    sigmas: Any,
    solver: str,
    seed: int,
    **noise: Any,
) -> tuple[Run, Report]:
    host = current()
    # Before the transformer comes: it may need the VAE.
    show = None if latents[0] is None else live_preview(computation, guider.transformer, video_vae)
    room = pass_bytes(guider.transformer.config, states, computation.dtype, guider.prompts)
    (transformer,) = computation.borrow(guider.transformer, activation_bytes=room)
    host.peak_memory()
    done = run(
        transformer,
        guider.prompts,
        states,
        latents,
        sigmas,
        SOLVERS[solver],
        seed,
        device=computation.device,
        dtype=computation.dtype,
        free_memory=computation.free_bytes,
        on_step=computation.on_step,
        on_x0=show,
        **noise,
    )
    report = Report.of(
        transformer,
        done,
        solver=solver,
        steps=len(sigmas) - 1,
        dtype=computation.dtype,
        device=str(computation.device),
        estimated_bytes=room,
        peak_bytes=host.peak_memory(),
    )
    return done, report


NODES = [Sample]
