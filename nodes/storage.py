"""Latents and prompts kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ltx2.geometry import PIXELS_PER_LATENT
from ..ltx2.latents import KEY, canvas_of, samples_of
from ..ltx2.recipe import FileId
from ..ltx2.sampling.denoiser import Context
from ..ltx2.storage import load_context, load_latents, save_context, save_latents
from . import sockets
from .host import current

io = current().io
ui = current().ui

LATENTS, CONDITIONING = ".latents.safetensors", ".conditioning.safetensors"


def _prefix(default: str) -> Any:
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip="Start of the name in the output folder; may hold a sub-folder and %date:yyyy-MM-dd%.",
    )


def _file(suffix: str, source: str) -> Any:
    names = current().saved_files(suffix)
    return io.Combo.Input("file", options=names, tooltip=f"From {source}; in the output folder or the input folder.")


def _stamp(file: str) -> Any:
    """What changes when the file does."""
    return FileId.of(current().saved_file(file)).stamp


def _told(path: Path, subfolder: str) -> dict[str, Any]:
    return {"files": [ui.SavedResult(path.name, subfolder, io.FolderType.output)]}


class SaveLatents(io.ComfyNode):
    """Save a video and an audio latent as they are: with masks, guides and frame rate."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_SaveLatents",
            display_name="LTX-2 Save Latents",
            category="LTX-2/storage",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", optional=True, tooltip="Video of the clip."),
                io.Latent.Input("audio", optional=True, tooltip="Sound of the clip."),
                _prefix("latents/LTX-2"),
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, filename_prefix: str, video: Any = None, audio: Any = None) -> Any:
        height, width = (0, 0) if video is None else samples_of(video, "video").shape[3:]
        size = width * PIXELS_PER_LATENT, height * PIXELS_PER_LATENT
        path, subfolder = current().save_path(filename_prefix, LATENTS, *size)
        save_latents(path, video, audio)
        return io.NodeOutput(video, audio, ui=_told(path, subfolder))


class LoadLatents(io.ComfyNode):
    """The video and audio latent of a file of LTX-2 Save Latents, exactly as they were saved, and their canvas."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadLatents",
            display_name="LTX-2 Load Latents",
            category="LTX-2/storage",
            description=cls.__doc__,
            inputs=[_file(LATENTS, "LTX-2 Save Latents")],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio"),
                sockets.Canvas.Output(
                    "canvas", display_name="canvas", tooltip="What the video decodes to; nothing where there is none."
                ),
            ],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        video, audio = load_latents(current().saved_file(file))
        has_canvas = video is not None and KEY in video
        return io.NodeOutput(video, audio, canvas_of(video) if has_canvas else None)

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file)


class SaveConditioning(io.ComfyNode):
    """Save an encoded prompt: loaded again, it needs no text encoder."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_SaveConditioning",
            display_name="LTX-2 Save Conditioning",
            category="LTX-2/storage",
            description=cls.__doc__,
            inputs=[
                sockets.Conditioning.Input("conditioning", tooltip="From LTX-2 Encode Prompt."),
                _prefix("conditioning/LTX-2"),
            ],
            outputs=[sockets.Conditioning.Output("conditioning", display_name="conditioning")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, conditioning: Any, filename_prefix: str) -> Any:
        sockets.require(conditioning, Context, "conditioning", "LTX-2 Encode Prompt")
        path, subfolder = current().save_path(filename_prefix, CONDITIONING, 0, 0)
        save_context(path, conditioning)
        return io.NodeOutput(conditioning, ui=_told(path, subfolder))


class LoadConditioning(io.ComfyNode):
    """The encoded prompt of a file of LTX-2 Save Conditioning, exactly as it was saved."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadConditioning",
            display_name="LTX-2 Load Conditioning",
            category="LTX-2/storage",
            description=cls.__doc__,
            inputs=[_file(CONDITIONING, "LTX-2 Save Conditioning")],
            outputs=[sockets.Conditioning.Output("conditioning", display_name="conditioning")],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        return io.NodeOutput(load_context(current().saved_file(file)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file)


NODES = [SaveLatents, LoadLatents, SaveConditioning, LoadConditioning]
