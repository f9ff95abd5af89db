"""ComfyUI's own nodes that graphs of this pack use: LoadImage, constants, and those for sound and video files.

Ids are given by position and classes are made by a function: the ComfyUI Manager reads `node_id="..."` off every file
and must not believe that this pack brings nodes of ComfyUI.

Shapes:
    image (B, H, W, 3) float 0-1; mask (B, H, W), 1 where transparent, (B, 64, 64) zeros without transparency
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from ....ltx2.errors import LTX2Error
from ....ltx2.media.image_file import load_image
from .. import current
from . import io
from .core_media import MEDIA_NODES

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")


def _load_image() -> type:
    def define_schema(cls: type) -> io.Schema:
        files = current().folders.input_files(IMAGE_SUFFIXES)  # type: ignore[attr-defined]
        tooltip = "An image in the input folder."
        image = io.Combo.Input("image", options=files, upload=io.UploadType.image, tooltip=tooltip)
        outputs = [io.Image.Output(), io.Mask.Output()]
        return io.Schema("LoadImage", "Load Image", "image", [image], outputs, description="Read an image.")

    def execute(cls: type, image: str) -> io.NodeOutput:
        return io.NodeOutput(*load_image(_path(image)))

    def validate_inputs(cls: type, image: str | None) -> bool | str:
        try:
            return image is None or bool(_path(image))
        except LTX2Error as error:
            return str(error)

    def fingerprint_inputs(cls: type, image: str | None) -> str:
        return hashlib.sha256(_path(image).read_bytes()).hexdigest() if image is not None else ""

    methods = (define_schema, execute, validate_inputs, fingerprint_inputs)
    return type("LoadImage", (io.ComfyNode,), {each.__name__: classmethod(each) for each in methods})


def _path(image: str) -> Path:
    return current().folders.input_path(image)  # type: ignore[attr-defined]


def _constant(node_id: str, display_name: str, kind: Any, **options: Any) -> type:
    def define_schema(cls: type) -> io.Schema:
        value = kind.Input("value", **options)
        return io.Schema(node_id, display_name, "utilities/primitive", [value], [kind.Output()], description="A value.")

    def execute(cls: type, value: Any) -> io.NodeOutput:
        return io.NodeOutput(value)

    methods = {each.__name__: classmethod(each) for each in (define_schema, execute)}
    # IS_CONSTANT: validation may look through the link at the value.
    return type(node_id, (io.ComfyNode,), {**methods, "IS_CONSTANT": True})


LoadImage = _load_image()

CORE_NODES = [
    LoadImage,
    *MEDIA_NODES,
    _constant("PrimitiveInt", "Int", io.Int, min=-sys.maxsize, max=sys.maxsize, control_after_generate="fixed"),
    _constant("PrimitiveFloat", "Float", io.Float, min=-sys.maxsize, max=sys.maxsize),
    _constant("PrimitiveBoolean", "Boolean", io.Boolean),
    _constant("PrimitiveString", "Text", io.String),
    _constant("PrimitiveStringMultiline", "Text (Multiline)", io.String, multiline=True),
]
