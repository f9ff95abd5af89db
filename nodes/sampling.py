"""The sampler."""

from __future__ import annotations

from typing import Any

from ..ltx2.conditioning.checks import check_references
from ..ltx2.latents import conditions_of, latents_of, states_of
from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.limits import check_duration
from ..ltx2.sampling.memory import pass_bytes
from ..ltx2.sampling.partial import at_start, unfinished
from ..ltx2.sampling.run import run
from ..ltx2.sampling.schedules import check_sigmas
from ..ltx2.sampling.table import SOLVERS
from . import sockets, widgets
from .computation import Computation
from .host import current

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
    ) -> Any:
        sockets.require(guider, Guider, "guider", "LTX-2 Guider")
        sigmas = check_sigmas(sigmas)
        given = tuple(at_start(latent, add_noise) for latent in (video, audio))
        states = states_of(*given)
        check_duration(guider.transformer.config, states)
        check_references(guider.transformer.reference_scale, conditions_of(*given))
        with Computation("sample") as computation:
            room = pass_bytes(guider.transformer.config, states, computation.dtype)
            (transformer,) = computation.borrow(guider.transformer, activation_bytes=room)
            states = run(
                transformer,
                guider.prompts,
                states,
                (video, audio),
                sigmas,
                SOLVERS[solver],
                seed,
                device=computation.device,
                dtype=computation.dtype,
                add_noise=add_noise,
                free_memory=current().free_memory(),
                on_step=computation.on_step,
            )
        results = latents_of(states, video, audio)
        if sigmas[-1] > 0:
            results = unfinished(results, given, states, steps=len(sigmas) - 1)
        return io.NodeOutput(*results)


NODES = [Sample]
