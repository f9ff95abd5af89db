"""ComfyUI's own nodes for sound and video files: LoadAudio, SaveAudio, LoadVideo, GetVideoComponents.

As in `core_nodes`, ids are given by position and classes are made by a function.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ....ltx2.errors import LTX2Error
from ....ltx2.media.sound_file import load_sound, save_flac
from .. import current
from . import io, ui
from .video import VideoFromFile

SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aif", ".aiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts")


def made(node_id: str, *methods: Any) -> type:
    """A node class of these functions, which take the class first."""
    return type(node_id, (io.ComfyNode,), {each.__name__: classmethod(each) for each in methods})


def _input_files(suffixes: tuple[str, ...]) -> list[str]:
    return current().folders.input_files(suffixes)  # type: ignore[attr-defined]


def _path(name: str) -> Path:
    return current().folders.input_path(name)  # type: ignore[attr-defined]


def _problem(name: str | None) -> bool | str:
    """True where the file is there, else what is wrong."""
    try:
        return name is None or bool(_path(name))
    except LTX2Error as error:
        return str(error)


def _load_audio() -> type:
    def define_schema(cls: type) -> io.Schema:
        audio = io.Combo.Input(
            "audio", options=_input_files(SOUND_SUFFIXES + VIDEO_SUFFIXES), upload=io.UploadType.audio
        )
        return io.Schema("LoadAudio", "Load Audio", "audio", [audio], [io.Audio.Output()], description="Read a sound.")

    def execute(cls: type, audio: str) -> io.NodeOutput:
        return io.NodeOutput(load_sound(_path(audio)))

    def validate_inputs(cls: type, audio: str | None) -> bool | str:
        return _problem(audio)

    def fingerprint_inputs(cls: type, audio: str | None) -> str:
        return hashlib.sha256(_path(audio).read_bytes()).hexdigest() if audio is not None else ""

    return made("LoadAudio", define_schema, execute, validate_inputs, fingerprint_inputs)


def _save_audio() -> type:
    def define_schema(cls: type) -> io.Schema:
        inputs = [io.Audio.Input("audio"), io.String.Input("filename_prefix", default="audio/ComfyUI")]
        hidden = [io.Hidden.prompt, io.Hidden.extra_pnginfo]
        outputs = [io.Audio.Output("audio")]
        return io.Schema("SaveAudio", "Save Audio", "audio", inputs, outputs, hidden, "Save FLAC.", is_output_node=True)

    def execute(cls: Any, audio: Any, filename_prefix: str) -> io.NodeOutput:
        if audio is None:
            raise LTX2Error("a sound must be there to be saved; got none: the video is silent")
        host, saved = current(), []
        tags = {"prompt": cls.hidden.prompt, **(cls.hidden.extra_pnginfo or {})} if host.saves_metadata() else {}
        for waveform in audio["waveform"]:
            path, subfolder = host.save_path(filename_prefix, ".flac", 0, 0)
            save_flac(path, waveform, int(audio["sample_rate"]), {key: json.dumps(tags[key]) for key in tags})
            saved.append(ui.SavedResult(path.name, subfolder, io.FolderType.output))
        return io.NodeOutput(audio, ui={"audio": saved})

    return made("SaveAudio", define_schema, execute)


def _load_video() -> type:
    def define_schema(cls: type) -> io.Schema:
        file = io.Combo.Input("file", options=_input_files(VIDEO_SUFFIXES), upload=io.UploadType.video)
        return io.Schema("LoadVideo", "Load Video", "video", [file], [io.Video.Output()], description="Open a video.")

    def execute(cls: type, file: str) -> io.NodeOutput:
        return io.NodeOutput(VideoFromFile(_path(file)))

    def validate_inputs(cls: type, file: str | None) -> bool | str:
        return _problem(file)

    def fingerprint_inputs(cls: type, file: str | None) -> float:
        return _path(file).stat().st_mtime if file is not None else 0.0

    return made("LoadVideo", define_schema, execute, validate_inputs, fingerprint_inputs)


def _get_video_components() -> type:
    def define_schema(cls: type) -> io.Schema:
        outputs = [
            io.Image.Output(display_name="images"),
            io.Audio.Output(display_name="audio"),
            io.Float.Output(display_name="fps"),
            io.Int.Output(display_name="bit_depth"),
            io.Combo.Output(display_name="color_space"),
        ]
        inputs = [io.Video.Input("video", tooltip="The video to take apart.")]
        description = "A video's frames, sound and frame rate, all in memory."
        return io.Schema(
            "GetVideoComponents", "Get Video Components", "video", inputs, outputs, description=description
        )

    def execute(cls: type, video: Any) -> io.NodeOutput:
        parts = video.get_components()
        rate = float(parts.frame_rate)
        return io.NodeOutput(parts.images, parts.audio, rate, video.get_bit_depth(), video.get_color_space())

    return made("GetVideoComponents", define_schema, execute)


MEDIA_NODES = [_load_audio(), _save_audio(), _load_video(), _get_video_components()]
