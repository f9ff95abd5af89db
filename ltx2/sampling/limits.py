"""How long a clip may be."""

from __future__ import annotations

from ..config.transformer import TransformerConfig
from ..errors import LTX2Error
from .sample import States


def check_duration(config: TransformerConfig, states: States) -> None:
    """Raises LTX2Error where a clip goes on beyond the positions that the transformer can tell apart (20 s).

    What counts is the middle of the last latent, as in the rotary tables: 481 frames at 24 per second still fit. Sound
    goes with its video; alone it is measured itself.
    """
    for name, state in zip(("video", "audio"), states, strict=True):
        if state is None:
            continue
        limit = getattr(config, name).max_positions[0]
        times = state.positions[0, 0, : state.num_targets]
        if times.mean(-1).max() > limit:
            cure = (
                "make it shorter, raise the frame rate, or make it"
                if name == "video"
                else "make it shorter, or make it"
            )
            raise LTX2Error(
                f"a clip must fit into the {limit:g} s that this transformer can place; got {name} of "
                f"{times.max():.2f} s: {cure} in parts (LTX-2 Trim Latents, LTX-2 Extend, LTX-2 Join Latents)"
            )
        return
