"""Finished videos, with the graph that made them inside."""

from __future__ import annotations

import json
from typing import Any

from ..ltx2.errors import LTX2Error
from ..ltx2.media.remux import remux
from .host import current

io = current().io
ui = current().ui


class SaveVideo(io.ComfyNode):
    """Save a video as mp4. Dropping the file on the canvas brings the workflow back."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_SaveVideo",
            display_name="LTX-2 Save Video",
            category="LTX-2/decoding",
            description=cls.__doc__,
            inputs=[
                io.Video.Input("video", tooltip="From LTX-2 Decode Video."),
                io.String.Input(
                    "filename_prefix",
                    default="video/LTX-2",
                    tooltip="Start of the name in the output folder; may hold a sub-folder and %date:yyyy-MM-dd%.",
                ),
            ],
            outputs=[io.Video.Output("video", display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, video: Any, filename_prefix: str) -> Any:
        host = current()
        if not hasattr(video, "get_dimensions"):
            raise LTX2Error(f"video must be a VIDEO; got {type(video).__name__}: connect LTX-2 Decode Video")
        path, subfolder = host.save_path(filename_prefix, ".mp4", *video.get_dimensions())
        metadata = _metadata(cls.hidden) if host.saves_metadata() else {}
        source = video.get_stream_source()
        if not isinstance(source, str):
            raise LTX2Error("this node saves videos that are files; use ComfyUI's Save Video for others")
        remux(source, path, metadata, host.check_cancelled)
        preview = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(video, ui=preview)


def _metadata(hidden: Any) -> dict[str, str]:
    """The prompt as executed and the workflow with the same values, as JSON."""
    # ComfyUI notes each loader's fingerprint in the prompt; sent again, it would be believed whatever the file is then.
    prompt = {
        id: {key: value for key, value in node.items() if key != "is_changed"}
        for id, node in (hidden.prompt or {}).items()
    }
    tags = {"prompt": prompt, **(hidden.extra_pnginfo or {})}
    return {name: json.dumps(value) for name, value in tags.items() if value}


NODES = [SaveVideo]
