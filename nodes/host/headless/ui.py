"""The part of ComfyUI's `comfy_api.latest.ui` that the pack uses: what an output node tells the browser."""

from __future__ import annotations

from typing import Any

from .inputs import FolderType


class SavedResult(dict):
    """A file that was written into one of the host's folders."""

    def __init__(self, filename: str, subfolder: str, type: FolderType):
        super().__init__(filename=filename, subfolder=subfolder, type=type.value)


class PreviewVideo:
    """Shows videos that were saved."""

    def __init__(self, values: list[SavedResult | dict], **_: Any):
        self.values = values

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (True,)}


class PreviewText:
    """Shows a text."""

    def __init__(self, value: str, **_: Any):
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}
