"""What an LTX-2 checkpoint says of its text connectors."""

from __future__ import annotations

from ..config.section import parse
from ..config.text import ConnectorsConfig
from ..errors import LTX2Error, ModelFileError
from .keys import TEXT
from .reader import Checkpoint
from .release import require_component, section_of


def read_connectors(checkpoint: Checkpoint) -> ConnectorsConfig:
    """The config of the text connectors in an LTX-2 checkpoint. Raises ModelFileError where there are none."""
    section = section_of(checkpoint, TEXT)
    config = parse(ConnectorsConfig, section, TEXT.section, checkpoint.name)
    found, _ = TEXT.select(checkpoint.entries)
    key = found.get("projection.both.weight") or found.get("projection.video.weight")
    if key is None:
        require_component(checkpoint, TEXT)
        raise LTX2Error(f"{checkpoint.name} must hold the text projection; its weight is missing")
    shape = checkpoint.entries[key].shape
    if len(shape) != 2:
        raise ModelFileError(f"{checkpoint.name} is damaged: {key} must be a matrix; its shape is {shape}; get it anew")
    return config.with_projection_width(shape[1])
