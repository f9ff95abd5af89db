"""The sampler."""

from __future__ import annotations

from typing import Any

from ..ltx2.latents import latents_of, states_of
from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.run import run
from ..ltx2.sampling.table import SOLVERS
from . import sockets, widgets
from .host import current
from .host.networks import borrow

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


NODES = [Sample]
