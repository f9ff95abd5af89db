"""How long a clip may be."""

from __future__ import annotations

from ..config.transformer import TransformerConfig
from ..errors import LTX2Error
from .sample import States

_CURES = {"video": "make it shorter, raise the frame rate", "audio": "make it shorter"}


def check_duration(config: TransformerConfig, states: States) -> None:
    """Raises LTX2Error where a clip goes on beyond the positions that the transformer can tell apart (20 s).

    What counts is the middle of the last latent, as in the rotary tables: 481 frames at 24 per second still fit. Sound
    goes with its video; alone it is measured itself.
    """
    name = "audio" if states[0] is None else "video"
    state = states[0] or states[1]
    if state is None:
        return
    limit = getattr(config, name).max_positions[0]
    times = state.positions[0, 0, : state.num_targets]
    if times.mean(-1).max() > limit:
        raise LTX2Error(
            f"a clip must fit into the {limit:g} s that this transformer can place; got {name} of {times.max():.2f} s: "
            f"{_CURES[name]}, or make it in parts (LTX-2 Trim Latents, LTX-2 Extend, LTX-2 Join Latents)"
        )
