"""The shipped graphs. Each adds its nodes in the order in which they run and says where they stand."""

from __future__ import annotations

from collections.abc import Callable

from . import models
from .sheet import Node, Output, Sheet

PROMPT = (
    "Early morning in a small harbour. A fishing boat with a red hull rocks gently at a wooden pier, where an old man "
    "in a yellow raincoat coils a wet rope. Gulls circle above him and low sunlight glitters on the water. The camera "
    "glides slowly towards him. He stops, looks up with a smile and says in a warm, rough voice: "
    '"Looks like a good day to be out there." Waves slap against the hull, the rope creaks, gulls cry and a bell '
    "rings far away."
)
IMAGE_PROMPT = (
    "The picture comes to life. The camera drifts slowly forward while soft light moves over the scene and small "
    "things stir in a light breeze. The wind is heard close by, leaves rustle, and a few quiet piano notes ring out "
    "and fade."
)
NEGATIVE = (
    "blurry, washed-out colours, flicker, jitter, frozen picture, deformed hands and faces, extra limbs, captions, "
    "watermark, muffled voice, hiss, distorted sound, silence"
)
PROMPT_SIZE = {"width": 420, "extra_height": 240}
PREVIEW = 300  # free below nodes that show a video


def _checkpoint(sheet: Sheet, file: models.ModelFile) -> Node:
    values = {"checkpoint": file.name, "text_encoder": models.GEMMA}
    return sheet.node("LTX2_LoadCheckpoint", "Checkpoint", None, values, models=[file.as_property], width=420)


def _upsampler(sheet: Sheet) -> Node:
    file = models.UPSAMPLER
    values = {"file": file.name}
    return sheet.node("LTX2_LoadUpsampler", "Upsampler", None, values, models=[file.as_property], width=420)


def _prompt(sheet: Sheet, checkpoint: Node, title: str, text: str, **size: int) -> Node:
    links = {"text_encoder": checkpoint["text encoder"]}
    return sheet.node("LTX2_EncodePrompt", title, links, {"text": text}, **{**PROMPT_SIZE, **size})


def _canvas(sheet: Sheet) -> tuple[Node, Node]:
    canvas = sheet.node("LTX2_Canvas", "Canvas", values={"width": 1280, "height": 704})
    links, values = {"canvas": canvas["canvas"]}, {"scale": "1/2"}
    return canvas, sheet.node("LTX2_EmptyLatents", "Empty Latents", links, values)


def _sample(sheet: Sheet, title: str, seed: int, **links: Output) -> Node:
    return sheet.node("LTX2_Sample", title, links, {"seed": seed})


def _upsample(sheet: Sheet, video: Output, upsampler: Node, checkpoint: Node) -> Node:
    links = {"video": video, "upsampler": upsampler["upsampler"], "video_vae": checkpoint["video VAE"]}
    return sheet.node("LTX2_UpsampleLatent", "Upsample", links)


def _decode(sheet: Sheet, checkpoint: Node, video: Output, audio: Output) -> list[list[Node]]:
    """The columns of the last band."""
    links = {"audio": audio, "audio_vae": checkpoint["audio VAE"], "vocoder": checkpoint["vocoder"]}
    sound = sheet.node("LTX2_DecodeAudio", "Decode Audio", links)
    links = {"video": video, "video_vae": checkpoint["video VAE"], "audio": sound["audio"]}
    clip = sheet.node("LTX2_DecodeVideo", "Decode Video", links)
    save = sheet.node("LTX2_SaveVideo", "Save Video", {"video": clip["video"]}, width=460, space=PREVIEW)
    return [[sound, clip], [save]]


def text_to_video_distilled(sheet: Sheet) -> None:
    checkpoint, upsampler = _checkpoint(sheet, models.DISTILLED), _upsampler(sheet)
    prompt = _prompt(sheet, checkpoint, "Prompt", PROMPT)
    canvas, empty = _canvas(sheet)
    links = {"transformer": checkpoint["transformer"], "positive": prompt["conditioning"]}
    guider = sheet.node("LTX2_Guider", "Guider", links)
    first = sheet.node("LTX2_DistilledSchedule", "Stage 1 Schedule", values={"stage": "1"})
    links = {"guider": guider["guider"], "sigmas": first["sigmas"]}
    sample1 = _sample(sheet, "Stage 1 Sample", 10, **links, video=empty["video"], audio=empty["audio"])
    upsample = _upsample(sheet, sample1["video"], upsampler, checkpoint)
    second = sheet.node("LTX2_DistilledSchedule", "Stage 2 Schedule", values={"stage": "2"})
    links = {"guider": guider["guider"], "sigmas": second["sigmas"]}
    sample2 = _sample(sheet, "Stage 2 Sample", 11, **links, video=upsample["video"], audio=sample1["audio"])
    last = _decode(sheet, checkpoint, sample2["video"], sample2["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[checkpoint, upsampler]]),
            ("2 Prompt", [[prompt]]),
            ("3 Canvas and Stage 1: half size, 8 steps", [[canvas, empty, first], [guider, sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, second, sample2]]),
            ("5 Decode and Save", last),
        ],
        models.note(
            "LTX-2 Text to Video, distilled",
            "Eleven steps without guidance: the quick way from a prompt to a video with sound. Stage 1 makes the clip "
            "at half size, stage 2 refines it at full size.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**Prompt**: say what is seen and what is heard, in plain sentences.",
                "**Canvas**: width and height in steps of 64, frames 8n + 1 (121 are 5 seconds at 24).",
                "**Stage 1 Sample**: another seed makes another clip.",
            ),
        ),
    )


GRAPHS: dict[str, Callable[[Sheet], None]] = {
    "LTX-2 Text to Video Distilled": text_to_video_distilled,
}
