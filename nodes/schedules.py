"""Noise schedules: where a run starts, where it ends, and how its steps lie between."""

from __future__ import annotations

from typing import Any

from ..ltx2.latents import samples_of
from ..ltx2.sampling.schedules import (
    DEFAULT_TOKENS,
    beta_schedule,
    distilled_schedule,
    linear_quadratic_schedule,
    ltx2_schedule,
    manual_schedule,
    slice_schedule,
)
from .host import current

io = current().io

_BEYOND = 10_000  # more steps than a schedule has; KSampler (Advanced) shows the same number


def _sigmas() -> list[Any]:
    return [io.Sigmas.Output("sigmas", display_name="sigmas")]


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
            outputs=_sigmas(),
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
            outputs=_sigmas(),
        )

    @classmethod
    def execute(cls, stage: str) -> Any:
        return io.NodeOutput(distilled_schedule(int(stage)))


class LinearQuadraticSchedule(io.ComfyNode):
    """Noise levels that fall slowly at first and then faster and faster. Eight steps are the distilled stage 1."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LinearQuadraticSchedule",
            display_name="LTX-2 Linear-Quadratic Schedule",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[io.Int.Input("steps", default=20, min=1, max=1000, tooltip="1 to 1000.")],
            outputs=_sigmas(),
        )

    @classmethod
    def execute(cls, steps: int) -> Any:
        return io.NodeOutput(linear_quadratic_schedule(steps))


class BetaSchedule(io.ComfyNode):
    """Noise levels by a beta distribution: with the defaults, small steps at both ends."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_BetaSchedule",
            display_name="LTX-2 Beta Schedule",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="1 to 1000; levels that meet count once."),
                io.Float.Input(
                    "alpha",
                    default=0.6,
                    min=0.01,
                    max=50.0,
                    step=0.01,
                    tooltip="0.01 to 50. Smaller: more steps near clean.",
                    extra_dict={"advanced": True},
                ),
                io.Float.Input(
                    "beta",
                    default=0.6,
                    min=0.01,
                    max=50.0,
                    step=0.01,
                    tooltip="0.01 to 50. Smaller: more steps near noise.",
                    extra_dict={"advanced": True},
                ),
            ],
            outputs=_sigmas(),
        )

    @classmethod
    def execute(cls, steps: int, alpha: float, beta: float) -> Any:
        return io.NodeOutput(beta_schedule(steps, alpha, beta))


class ManualSchedule(io.ComfyNode):
    """Noise levels as you write them."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ManualSchedule",
            display_name="LTX-2 Manual Schedule",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.String.Input(
                    "text",
                    default="1, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0",
                    multiline=True,
                    tooltip="At least two numbers that fall from at most 1 (noise) to at least 0 (clean), with commas "
                    "or spaces between them.",
                )
            ],
            outputs=_sigmas(),
        )

    @classmethod
    def execute(cls, text: str) -> Any:
        return io.NodeOutput(manual_schedule(text))


class SliceSchedule(io.ComfyNode):
    """Some of a schedule's steps: to split a run in two, or to start from a clip that is there already."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_SliceSchedule",
            display_name="LTX-2 Slice Schedule",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                io.Sigmas.Input("sigmas", tooltip="Any schedule."),
                io.Int.Input(
                    "start_step",
                    default=0,
                    min=0,
                    max=_BEYOND,
                    tooltip="The first step, counted from 0; before end_step.",
                ),
                io.Int.Input(
                    "end_step",
                    default=-1,
                    min=-1,
                    max=_BEYOND,
                    tooltip="The step before which to stop; -1, or more steps than there are, goes to the end.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of these steps to keep, from their end; at least one is. 1 keeps all.",
                ),
            ],
            outputs=_sigmas(),
        )

    @classmethod
    def execute(cls, sigmas: Any, start_step: int, end_step: int, denoise: float) -> Any:
        return io.NodeOutput(slice_schedule(sigmas, start_step, end_step, denoise))


NODES = [Schedule, DistilledSchedule, LinearQuadraticSchedule, BetaSchedule, ManualSchedule, SliceSchedule]
