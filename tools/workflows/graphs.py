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
WIDE = 370  # of nodes that show file names, texts or pictures
PROMPT_SIZE = {"width": WIDE, "extra_height": 200}
HINTS = (
    "**Prompt**: say what is seen and what is heard, in plain sentences.",
    "**Canvas**: width and height in steps of 64, frames 8n + 1 (121 are 5 seconds at 24).",
    "**Stage 1 Sample**: another seed makes another clip.",
)
STEPS = 30  # of the guided stage with LTX-2.3; LTX-2.0 takes 40
PREVIEW = 300  # free below nodes that show a video


def _checkpoint(sheet: Sheet, file: models.ModelFile) -> Node:
    values = {"checkpoint": file.name, "text_encoder": models.GEMMA}
    return sheet.node("LTX2_LoadCheckpoint", "Checkpoint", None, values, models=[file.as_property], width=WIDE)


def _upsampler(sheet: Sheet) -> Node:
    file = models.UPSAMPLER
    values = {"file": file.name}
    return sheet.node("LTX2_LoadUpsampler", "Upsampler", None, values, models=[file.as_property], width=WIDE)


def _prompt(sheet: Sheet, checkpoint: Node, title: str, text: str, **size: int) -> Node:
    links = {"text_encoder": checkpoint["text encoder"]}
    return sheet.node("LTX2_EncodePrompt", title, links, {"text": text}, **{**PROMPT_SIZE, **size})


def _canvas(sheet: Sheet) -> tuple[Node, Node]:
    canvas = sheet.node("LTX2_Canvas", "Canvas", values={"width": 1280, "height": 704}, width=WIDE)
    links, values = {"canvas": canvas["canvas"]}, {"scale": "1/2"}
    return canvas, sheet.node("LTX2_EmptyLatents", "Empty Latents", links, values)


def _sample(sheet: Sheet, title: str, seed: int, **links: Output) -> Node:
    return sheet.node("LTX2_Sample", title, links, {"seed": seed})


def _upsample(sheet: Sheet, video: Output, upsampler: Node, checkpoint: Node) -> Node:
    links = {"video": video, "upsampler": upsampler["upsampler"], "video_vae": checkpoint["video VAE"]}
    return sheet.node("LTX2_UpsampleLatent", "Upsample", links)


def _decode(sheet: Sheet, checkpoint: Node, video: Output, audio: Output) -> list[Node]:
    """The column of the last band."""
    links = {"audio": audio, "audio_vae": checkpoint["audio VAE"], "vocoder": checkpoint["vocoder"]}
    sound = sheet.node("LTX2_DecodeAudio", "Decode Audio", links, width=WIDE)
    links = {"video": video, "video_vae": checkpoint["video VAE"], "audio": sound["audio"]}
    clip = sheet.node("LTX2_DecodeVideo", "Decode Video", links, width=WIDE)
    save = sheet.node("LTX2_SaveVideo", "Save Video", {"video": clip["video"]}, width=WIDE, space=PREVIEW)
    return [sound, clip, save]


def _apply(sheet: Sheet, title: str, video: Output, guide: Node, checkpoint: Node) -> Node:
    links = {"video": video, "guides": guide["guides"], "video_vae": checkpoint["video VAE"]}
    return sheet.node("LTX2_ApplyGuides", title, links)


def _guider(sheet: Sheet, title: str, transformer: Output, positive: Node, **links: Output) -> Node:
    own = {"transformer": transformer, "positive": positive["conditioning"]}
    return sheet.node("LTX2_Guider", title, {**own, **links})


def _distilled(sheet: Sheet, stage: str) -> Node:
    return sheet.node("LTX2_DistilledSchedule", f"Stage {stage} Schedule", values={"stage": stage})


def text_to_video(sheet: Sheet) -> None:
    checkpoint, upsampler = _checkpoint(sheet, models.DEV), _upsampler(sheet)
    links, values = {"transformer": checkpoint["transformer"]}, {"lora": models.LORA.name}
    lora = sheet.node("LTX2_Lora", "Distilled LoRA", links, values, models=[models.LORA.as_property], width=WIDE)
    prompt = _prompt(sheet, checkpoint, "Prompt", PROMPT)
    negative = _prompt(sheet, checkpoint, "Negative Prompt", NEGATIVE, extra_height=90)
    canvas, empty = _canvas(sheet)
    schedule = sheet.node("LTX2_Schedule", "Stage 1 Schedule", values={"steps": STEPS})
    video = sheet.node("LTX2_Guidance", "Video Guidance", values={"cfg": 3.0})
    audio = sheet.node("LTX2_Guidance", "Audio Guidance", values={"cfg": 7.0})
    links = {"video_guidance": video["guidance"], "audio_guidance": audio["guidance"]}
    links["negative"] = negative["conditioning"]
    guider1 = _guider(sheet, "Stage 1 Guider", checkpoint["transformer"], prompt, **links)
    links = {"guider": guider1["guider"], "sigmas": schedule["sigmas"]}
    sample1 = _sample(sheet, "Stage 1 Sample", 10, **links, video=empty["video"], audio=empty["audio"])
    upsample = _upsample(sheet, sample1["video"], upsampler, checkpoint)
    guider2, second = _guider(sheet, "Stage 2 Guider", lora["transformer"], prompt), _distilled(sheet, "2")
    links = {"guider": guider2["guider"], "sigmas": second["sigmas"]}
    sample2 = _sample(sheet, "Stage 2 Sample", 11, **links, video=upsample["video"], audio=sample1["audio"])
    last = _decode(sheet, checkpoint, sample2["video"], sample1["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[checkpoint, lora, upsampler]]),
            ("2 Prompts and Canvas", [[prompt, negative, canvas]]),
            (f"3 Stage 1: half size, {STEPS} guided steps", [[video, audio, schedule, empty], [guider1, sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, guider2, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Text to Video",
            "The full model with guidance at half size, then the upsampler and the distilled LoRA at full size. Slower "
            "than the distilled workflow, and closer to the prompt. The sound is that of stage 1.",
            (models.DEV, models.LORA, models.UPSAMPLER),
            (
                *HINTS,
                "**Stage 1 Schedule**: 30 steps suit LTX-2.3, 40 suit LTX-2.0.",
                "**Video Guidance, Audio Guidance**: how closely picture and sound follow the prompt.",
            ),
        ),
    )


def text_to_video_distilled(sheet: Sheet) -> None:
    checkpoint, upsampler = _checkpoint(sheet, models.DISTILLED), _upsampler(sheet)
    prompt = _prompt(sheet, checkpoint, "Prompt", PROMPT)
    canvas, empty = _canvas(sheet)
    guider, first = _guider(sheet, "Guider", checkpoint["transformer"], prompt), _distilled(sheet, "1")
    links = {"guider": guider["guider"], "sigmas": first["sigmas"]}
    sample1 = _sample(sheet, "Stage 1 Sample", 10, **links, video=empty["video"], audio=empty["audio"])
    upsample, second = _upsample(sheet, sample1["video"], upsampler, checkpoint), _distilled(sheet, "2")
    links = {"guider": guider["guider"], "sigmas": second["sigmas"]}
    sample2 = _sample(sheet, "Stage 2 Sample", 11, **links, video=upsample["video"], audio=sample1["audio"])
    last = _decode(sheet, checkpoint, sample2["video"], sample2["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[checkpoint, upsampler]]),
            ("2 Prompt and Canvas", [[prompt, canvas]]),
            ("3 Stage 1: half size, 8 steps", [[guider, first, empty], [sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Text to Video, distilled",
            "Eleven steps without guidance: the quick way from a prompt to a video with sound. Stage 1 makes the clip "
            "at half size, stage 2 refines it at full size.",
            (models.DISTILLED, models.UPSAMPLER),
            HINTS,
        ),
    )


def image_to_video_distilled(sheet: Sheet) -> None:
    checkpoint, upsampler = _checkpoint(sheet, models.DISTILLED), _upsampler(sheet)
    prompt = _prompt(sheet, checkpoint, "Prompt", IMAGE_PROMPT, extra_height=120)
    image = sheet.node("LoadImage", "First Frame", values={"image": "example.png"}, width=WIDE, extra_height=330)
    guide = sheet.node("LTX2_ImageGuide", "Image Guide", {"image": image["IMAGE"]}, {"frame": 0})
    canvas, empty = _canvas(sheet)
    guided1 = _apply(sheet, "Stage 1 Guides", empty["video"], guide, checkpoint)
    guider, first = _guider(sheet, "Guider", checkpoint["transformer"], prompt), _distilled(sheet, "1")
    links = {"guider": guider["guider"], "sigmas": first["sigmas"]}
    sample1 = _sample(sheet, "Stage 1 Sample", 10, **links, video=guided1["video"], audio=empty["audio"])
    upsample = _upsample(sheet, sample1["video"], upsampler, checkpoint)
    guided2, second = _apply(sheet, "Stage 2 Guides", upsample["video"], guide, checkpoint), _distilled(sheet, "2")
    links = {"guider": guider["guider"], "sigmas": second["sigmas"]}
    sample2 = _sample(sheet, "Stage 2 Sample", 11, **links, video=guided2["video"], audio=sample1["audio"])
    last = _decode(sheet, checkpoint, sample2["video"], sample2["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[checkpoint, upsampler]]),
            ("2 Image, Prompt and Canvas", [[image, prompt, canvas]]),
            ("3 Stage 1: half size, 8 steps", [[guide, guider, first, empty], [guided1, sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, second], [guided2, sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Image to Video, distilled",
            "A picture becomes the first frame of a video with sound, in eleven steps without guidance. It guides both "
            "stages, each at its own size.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**First Frame**: your picture; it is scaled to cover the clip and cropped.",
                *HINTS,
                "**Image Guide**: a lower strength lets the clip leave the picture sooner.",
            ),
        ),
    )


GRAPHS: dict[str, Callable[[Sheet], None]] = {
    "LTX-2 Text to Video": text_to_video,
    "LTX-2 Text to Video Distilled": text_to_video_distilled,
    "LTX-2 Image to Video Distilled": image_to_video_distilled,
}
