"""Inputs, outputs and socket types of the stand-in for `comfy_api.latest.io`: names and parameters as ComfyUI has them.

`as_dict` is what a ComfyUI server sends for the input in /object_info; None means "not said" and is left out.
"""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any, ClassVar


class FolderType(str, Enum):
    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(str, Enum):
    number = "number"
    slider = "slider"
    gradient_slider = "gradientslider"


def said(**fields: Any) -> dict[str, Any]:
    """`fields` without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


class Input:
    """A socket without a widget."""

    Parent: ClassVar[Any] = None

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        extra_dict: dict | None = None,
        raw_link: bool | None = None,
        advanced: bool | None = None,
    ):
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.lazy = lazy
        self.extra_dict = extra_dict or {}
        self.rawLink = raw_link
        self.advanced = advanced

    @property
    def io_type(self) -> str:
        return self.Parent.io_type

    def get_io_type(self) -> str:
        """The type as links see it: "FLOAT", or "FLOAT,INT" where several may be linked."""
        return self.io_type

    def as_dict(self) -> dict[str, Any]:
        fields = said(
            display_name=self.display_name,
            optional=self.optional,
            tooltip=self.tooltip,
            lazy=self.lazy,
            rawLink=self.rawLink,
            advanced=self.advanced,
        )
        return fields | said(**self.extra_dict)


class WidgetInput(Input):
    """A socket with a widget that holds a value while nothing is linked."""

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: Any = None,
        socketless: bool | None = None,
        widget_type: str | None = None,
        force_input: bool | None = None,
        extra_dict: dict | None = None,
        raw_link: bool | None = None,
        advanced: bool | None = None,
    ):
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.default = default
        self.socketless = socketless
        self.widget_type = widget_type
        self.force_input = force_input

    def get_io_type(self) -> str:
        return self.widget_type or super().get_io_type()

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | said(
            default=self.default,
            socketless=self.socketless,
            widgetType=self.widget_type,
            forceInput=self.force_input,
        )


class Output:
    """One value that a node gives."""

    Parent: ClassVar[Any] = None

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ):
        self.id = id
        self.display_name = display_name or id
        self.tooltip = tooltip
        self.is_output_list = is_output_list

    @property
    def io_type(self) -> str:
        return self.Parent.io_type

    def get_io_type(self) -> str:
        return self.io_type


class ComfyTypeIO:
    """A socket type: `class Int(ComfyTypeIO, io_type="INT")` gets an Input and an Output of its own that know it."""

    Type: ClassVar[Any] = Any
    io_type: ClassVar[str] = ""
    Input: ClassVar[Any]
    Output: ClassVar[Any]

    def __init_subclass__(cls, io_type: str = "", **rest: Any):
        super().__init_subclass__(**rest)
        cls.io_type = io_type
        cls.Input = type("Input", (getattr(cls, "Input", Input),), {"Parent": cls})
        cls.Output = type("Output", (getattr(cls, "Output", Output),), {"Parent": cls})


def Custom(io_type: str) -> type[ComfyTypeIO]:
    """A socket type that ComfyUI does not know."""

    class CustomComfyType(ComfyTypeIO, io_type=io_type):
        pass

    return CustomComfyType


class Boolean(ComfyTypeIO, io_type="BOOLEAN"):
    Type = bool

    class Input(WidgetInput):
        def __init__(
            self, id: str, *args: Any, label_on: str | None = None, label_off: str | None = None, **common: Any
        ):
            super().__init__(id, *args, **common)
            self.label_on = label_on
            self.label_off = label_off

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | said(label_on=self.label_on, label_off=self.label_off)


class _NumberInput(WidgetInput):
    """What Int and Float share: a range and a step."""

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: float | None = None,
        min: float | None = None,
        max: float | None = None,
        step: float | None = None,
        *,
        display_mode: NumberDisplay | None = None,
        **common: Any,
    ):
        super().__init__(id, display_name, optional, tooltip, lazy, default, **common)
        self.min = min
        self.max = max
        self.step = step
        self.display_mode = display_mode

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | said(
            min=self.min,
            max=self.max,
            step=self.step,
            display=self.display_mode.value if self.display_mode else None,
        )


class Int(ComfyTypeIO, io_type="INT"):
    Type = int

    class Input(_NumberInput):
        def __init__(self, id: str, *args: Any, control_after_generate: bool | str | None = None, **common: Any):
            super().__init__(id, *args, **common)
            self.control_after_generate = control_after_generate

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | said(control_after_generate=self.control_after_generate)


class Float(ComfyTypeIO, io_type="FLOAT"):
    Type = float

    class Input(_NumberInput):
        def __init__(self, id: str, *args: Any, round: float | bool | None = None, **common: Any):
            super().__init__(id, *args, **common)
            self.round = round

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | said(round=self.round)


class String(ComfyTypeIO, io_type="STRING"):
    Type = str

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            multiline: bool = False,
            placeholder: str | None = None,
            default: str | None = None,
            dynamic_prompts: bool | None = None,
            **common: Any,
        ):
            super().__init__(id, display_name, optional, tooltip, lazy, default, **common)
            self.multiline = multiline
            self.placeholder = placeholder
            self.dynamic_prompts = dynamic_prompts

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | said(
                multiline=self.multiline, placeholder=self.placeholder, dynamicPrompts=self.dynamic_prompts
            )


class Combo(ComfyTypeIO, io_type="COMBO"):
    Type = str

    class Input(WidgetInput):
        def __init__(
            self,
            id: str,
            options: list | type[Enum] | None = None,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: Any = None,
            control_after_generate: bool | str | None = None,
            upload: UploadType | None = None,
            image_folder: FolderType | None = None,
            **common: Any,
        ):
            default = default.value if isinstance(default, Enum) else default
            super().__init__(id, display_name, optional, tooltip, lazy, default, **common)
            is_enum = isinstance(options, type) and issubclass(options, Enum)
            self.options = [member.value for member in options] if is_enum else options
            self.control_after_generate = control_after_generate
            self.upload = upload
            self.image_folder = image_folder

        def as_dict(self) -> dict[str, Any]:
            fields = super().as_dict() | said(
                multiselect=False, options=self.options, control_after_generate=self.control_after_generate
            )
            if self.upload is not None:
                fields[self.upload.value] = True
            return fields | said(image_folder=self.image_folder.value if self.image_folder else None)


class MultiType:
    """An input that several types may be linked to; built from a widget input it keeps that widget."""

    class Input(Input):
        def __init__(
            self,
            id: str | Input,
            types: list[type[ComfyTypeIO]],
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            extra_dict: dict | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ):
            self.input_override = None
            if isinstance(id, Input):
                self.input_override = inner = copy.copy(id)
                if isinstance(inner, WidgetInput):
                    inner.widget_type = inner.get_io_type()
                id, optional = inner.id, inner.optional or optional
                tooltip = tooltip if inner.tooltip is None else inner.tooltip
                display_name = display_name if inner.display_name is None else inner.display_name
                lazy = lazy if inner.lazy is None else inner.lazy
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            self._types = types

        @property
        def io_type(self) -> str:
            return "COMFY_MULTITYPED_V3"

        def get_io_type(self) -> str:
            own = [self.input_override.get_io_type()] if self.input_override is not None else []
            return ",".join(dict.fromkeys(own + [kind.io_type for kind in self._types]))

        def as_dict(self) -> dict[str, Any]:
            inner = self.input_override.as_dict() if self.input_override is not None else {}
            return inner | super().as_dict()
