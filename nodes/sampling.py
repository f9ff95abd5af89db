"""Schedules and the sampler."""

from __future__ import annotations

from typing import Any

from ..ltx2.latents import latents_of, samples_of, states_of
from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.run import run
from ..ltx2.sampling.schedules import DEFAULT_TOKENS, distilled_schedule, ltx2_schedule
from ..ltx2.sampling.table import SOLVERS
from . import sockets, widgets
from .host import current
from .host.networks import borrow

io = current().io


class Schedule(io.ComfyNode):
    """Noise levels of a dev model's run."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Schedule",
            display_name="LTX-2 Schedule",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input(
                    "video",
                    optional=True,
                    tooltip="Connect to shift by this latent's token count; unconnected, the reference's 4096 holds.",
                ),
                io.Int.Input(
                    "steps", default=40, min=2, max=1000, tooltip="2 to 1000. Usual: 40 for LTX-2, 30 for LTX-2.3."
                ),
            ],
            outputs=[io.Sigmas.Output("sigmas", display_name="sigmas")],
        )

    @classmethod
    def execute(cls, steps: int, video: Any = None) -> Any:
        tokens = DEFAULT_TOKENS if video is None else samples_of(video, "video")[0, 0].numel()
        return io.NodeOutput(ltx2_schedule(steps, tokens))


class DistilledSchedule(io.ComfyNode):
    """The fixed noise levels of distilled models and of the distilled LoRA."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_DistilledSchedule",
            display_name="LTX-2 Distilled Schedule",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.Combo.Input(
                    "stage",
                    options=["1", "2"],
                    default="1",
                    tooltip="1: eight steps from pure noise. 2: three steps after upsampling.",
                )
            ],
            outputs=[io.Sigmas.Output("sigmas", display_name="sigmas")],
        )

    @classmethod
    def execute(cls, stage: str) -> Any:
        return io.NodeOutput(distilled_schedule(int(stage)))


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
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio"),
            ],
        )

    @classmethod
    def execute(cls, guider: Any, sigmas: Any, solver: str, seed: int, video: Any = None, audio: Any = None) -> Any:
        sockets.require(guider, Guider, "guider", "LTX-2 Guider")
        states = states_of(video, audio)
        host = current()
        with host.progress("sample") as on_step:
            (transformer,) = borrow(guider.transformer)
            device = host.device()
            states = run(
                transformer,
                guider.prompts,
                states,
                (video, audio),
                sigmas,
                SOLVERS[solver],
                seed,
                device=device,
                dtype=host.compute_dtype(device),
                on_step=on_step,
            )
        return io.NodeOutput(*latents_of(states, video, audio))


NODES = [Schedule, DistilledSchedule, Sample]
