"""The part of ComfyUI's `comfy_api.latest.io` that the pack uses, under the same names and parameters."""

from __future__ import annotations

from .inputs import (
    Boolean,
    Combo,
    ComfyTypeIO,
    Custom,
    Float,
    FolderType,
    Input,
    Int,
    MultiType,
    NumberDisplay,
    Output,
    String,
    UploadType,
    WidgetInput,
)
from .schema import ComfyNode, Hidden, NodeOutput, Schema

AnyType = Custom("*")
Audio = Custom("AUDIO")
Conditioning = Custom("CONDITIONING")
Guider = Custom("GUIDER")
Image = Custom("IMAGE")
Latent = Custom("LATENT")
Mask = Custom("MASK")
Noise = Custom("NOISE")
Sigmas = Custom("SIGMAS")
Video = Custom("VIDEO")

__all__ = [
    "AnyType",
    "Audio",
    "Boolean",
    "Combo",
    "ComfyNode",
    "ComfyTypeIO",
    "Conditioning",
    "Custom",
    "Float",
    "FolderType",
    "Guider",
    "Hidden",
    "Image",
    "Input",
    "Int",
    "Latent",
    "Mask",
    "MultiType",
    "NodeOutput",
    "Noise",
    "NumberDisplay",
    "Output",
    "Schema",
    "Sigmas",
    "String",
    "UploadType",
    "Video",
    "WidgetInput",
]
