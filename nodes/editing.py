"""Regenerate, extend, cut and join: editing nodes for video and sound together."""

from __future__ import annotations

from typing import Any

from ..ltx2.editing.extend import DIRECTIONS, extend
from ..ltx2.editing.join import join
from ..ltx2.editing.regions import inpaint, retake
from ..ltx2.editing.trim import trim
from .host import current

io = current().io

_LONGEST = 36000.0  # seconds that a widget takes
_FROM_THE_END = "Below 0 it counts from the end of the clip"


def _seconds(name: str, default: float, tooltip: str, least: float = 0.0) -> Any:
    return io.Float.Input(name, default=default, min=least, max=_LONGEST, step=0.01, tooltip=tooltip)


def _range() -> list[Any]:
    return [
        _seconds(
            "start", 0.0, f"Second of the clip where the part begins. {_FROM_THE_END}: -3 is 3 s before it.", -_LONGEST
        ),
        _seconds("end", 0.0, f"Second where it ends. {_FROM_THE_END}; 0 is the end itself.", -_LONGEST),
    ]


def _pair(prefix: str = "") -> list[Any]:
    whose = f"the {prefix[:-1]} clip" if prefix else "the clip"
    return [
        io.Latent.Input(
            f"{prefix}video", optional=True, tooltip=f"Video of {whose}; without it, sound alone is edited."
        ),
        io.Latent.Input(f"{prefix}audio", optional=True, tooltip=f"Sound of {whose}; without it, it is silent."),
    ]


def _outputs() -> list[Any]:
    return [io.Latent.Output("video", display_name="video"), io.Latent.Output("audio", display_name="audio")]


def _length(name: str = "seconds") -> Any:
    return io.Float.Output(name.replace(" ", "_"), display_name=name)


class Retake(io.ComfyNode):
    """Regenerate a part of an existing clip, its video, its sound or both. What lies outside stays as it is."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Retake",
            display_name="LTX-2 Retake",
            category="LTX-2/editing",
            description=cls.__doc__,
            inputs=[
                *_pair(),
                *_range(),
                io.Boolean.Input(
                    "regenerate_video", default=True, tooltip="Off: the video stays as it is from start to end."
                ),
                io.Boolean.Input(
                    "regenerate_audio", default=True, tooltip="Off: the sound stays as it is from start to end."
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        start: float,
        end: float,
        regenerate_video: bool,
        regenerate_audio: bool,
        video: Any = None,
        audio: Any = None,
    ) -> Any:
        result = retake(video, audio, start, end, regenerate_video=regenerate_video, regenerate_audio=regenerate_audio)
        return io.NodeOutput(*result)


class Inpaint(io.ComfyNode):
    """Regenerate what a mask shows of an existing clip. Everything else, and its sound, stays as it is."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Inpaint",
            display_name="LTX-2 Inpaint",
            category="LTX-2/editing",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", tooltip="Video of the clip, from LTX-2 Encode Video or LTX-2 Sample."),
                io.Mask.Input(
                    "mask", tooltip="White is generated anew; one picture for the whole clip, or one for each frame."
                ),
                io.Latent.Input("audio", optional=True, tooltip="Sound of the clip, which is kept."),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, video: Any, mask: Any, audio: Any = None) -> Any:
        return io.NodeOutput(*inpaint(video, mask, audio))


class Extend(io.ComfyNode):
    """Make room for more of a clip, at its end or at its beginning, with sound; LTX-2 Sample fills it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_Extend",
            display_name="LTX-2 Extend",
            category="LTX-2/editing",
            description=cls.__doc__,
            inputs=[
                *_pair(),
                _seconds(
                    "seconds", 2.0, "How much is added: whole latents of 8 frames, at least one. 20 s in all.", 0.01
                ),
                io.Combo.Input(
                    "direction",
                    options=list(DIRECTIONS),
                    default="after",
                    tooltip="Continue the clip, or lead up to it.",
                ),
            ],
            outputs=[*_outputs(), _length("seconds added")],
        )

    @classmethod
    def execute(cls, seconds: float, direction: str, video: Any = None, audio: Any = None) -> Any:
        return io.NodeOutput(*extend(video, audio, seconds, direction))


class TrimLatents(io.ComfyNode):
    """Cut a part out of a clip, video and sound together, at the nearest borders of video latents (8 frames)."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_TrimLatents",
            display_name="LTX-2 Trim Latents",
            category="LTX-2/editing",
            description=cls.__doc__,
            inputs=[*_pair(), *_range()],
            outputs=[*_outputs(), _length()],
        )

    @classmethod
    def execute(cls, start: float, end: float, video: Any = None, audio: Any = None) -> Any:
        return io.NodeOutput(*trim(video, audio, start, end))


class JoinLatents(io.ComfyNode):
    """Lay the beginning of one clip over the end of another and cross-fade them, video and sound together."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_JoinLatents",
            display_name="LTX-2 Join Latents",
            category="LTX-2/editing",
            description=cls.__doc__,
            inputs=[
                *_pair("first_"),
                *_pair("second_"),
                _seconds(
                    "overlap",
                    1.0,
                    "Seconds that both clips show, as LTX-2 Trim Latents cuts the last ones of a clip. 0.1 is a hard "
                    "cut; 0 is for silent clips only, where the second was cut out of a longer one.",
                ),
            ],
            outputs=[*_outputs(), _length()],
        )

    @classmethod
    def execute(
        cls,
        overlap: float,
        first_video: Any = None,
        first_audio: Any = None,
        second_video: Any = None,
        second_audio: Any = None,
    ) -> Any:
        return io.NodeOutput(*join((first_video, first_audio), (second_video, second_audio), overlap))


NODES = [Retake, Extend, TrimLatents, JoinLatents, Inpaint]
