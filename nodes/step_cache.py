"""Steps that are left out where little happens: lossy, and switched on by hand."""

from __future__ import annotations

from typing import Any

from ..ltx2.sampling.guider import Guider
from ..ltx2.sampling.step_cache import StepCaching
from . import sockets
from .host import current

io = current().io

_AS_VIDEO = -1.0


class StepCache(io.ComfyNode):
    """Lossy: where little moves, a step reuses the last prediction. For runs of 16 steps or more, not for distilled."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_StepCache",
            display_name="LTX-2 Step Cache",
            category="LTX-2/sampling",
            description=cls.__doc__,
            inputs=[
                sockets.Guider.Input("guider", tooltip="From LTX-2 Guider."),
                io.Float.Input(
                    "video_threshold",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=0.001,
                    tooltip="How far the picture may move, as the first block sees it, before a step is computed; "
                    "0 is off and exact. Begin with 0.05, and look at the report.",
                ),
                io.Float.Input(
                    "audio_threshold",
                    default=_AS_VIDEO,
                    min=_AS_VIDEO,
                    max=10.0,
                    step=0.001,
                    optional=True,
                    tooltip="Likewise for the sound; -1 is the video's. A step is left out where neither moves so far.",
                ),
                _steps("first_steps", 4, "So many steps at the beginning are always computed; 1 or more."),
                _steps("last_steps", 2, "So many steps at the end are always computed; 1 or more."),
            ],
            outputs=[sockets.Guider.Output("guider", display_name="guider")],
        )

    @classmethod
    def execute(
        cls,
        guider: Any,
        video_threshold: float,
        audio_threshold: float = _AS_VIDEO,
        first_steps: int = 4,
        last_steps: int = 2,
    ) -> Any:
        sockets.require(guider, Guider, "guider", "LTX-2 Guider")
        audio = video_threshold if audio_threshold == _AS_VIDEO else audio_threshold
        return io.NodeOutput(guider.with_caching(StepCaching(video_threshold, audio, first_steps, last_steps)))


def _steps(name: str, default: int, tooltip: str) -> Any:
    return io.Int.Input(
        name, default=default, min=1, max=1000, optional=True, tooltip=tooltip, extra_dict={"advanced": True}
    )


NODES = [StepCache]
