"""Sound as input, and sound alone."""

from __future__ import annotations

from .. import models
from ..sheet import Sheet
from . import pieces
from .generate import GUIDANCE_HINT, STEPS, STEPS_HINT

SINGER = (
    "Close-up of a street musician under a bridge at night. He sings with closed eyes and moves his head with the "
    "rhythm, warm light from a shop window on his face, people pass behind him out of focus. The camera holds still."
)
SOUNDS = (
    "Rain on a tin roof, slow and steady. Thunder rolls far away. A kettle begins to whistle close by, somebody walks "
    "across creaking boards and takes it off the stove."
)
SPEAKER = (
    "A woman in a red pullover sits at a kitchen table and speaks calmly into the camera. She says: "
    '"The bread needs another hour, but the soup is ready. Come in and sit down."'
)


def audio_to_video(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    sound = sheet.node("LoadAudio", "Sound", None, {"audio": "example.wav"}, width=pieces.WIDE, extra_height=60)
    prompt, canvas = pieces.prompt(sheet, loader, SINGER, height=120), pieces.canvas(sheet)
    links = {"audio": sound["AUDIO"], "audio_vae": loader["audio VAE"], "canvas": canvas["canvas"]}
    encoded = sheet.node("LTX2_EncodeAudio", "Encode Audio", links)
    kept = sheet.node("LTX2_Freeze", "Keep the Sound", {"latent": encoded["audio"]})
    empty = pieces.empty(sheet, canvas)
    guider, first = pieces.guider(sheet, "Guider", loader, prompt), pieces.distilled(sheet, 1)
    sample1 = pieces.sample(sheet, 1, guider, first, video=empty["video"], audio=kept["latent"])
    upsample, second = pieces.upsample(sheet, sample1["video"], larger, loader), pieces.distilled(sheet, 2)
    sample2 = pieces.sample(sheet, 2, guider, second, video=upsample["video"], audio=kept["latent"])
    last = pieces.save_video(sheet, loader, sample2["video"], sound["AUDIO"])
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Sound, Prompt and Canvas", [[sound, prompt, canvas], [encoded, kept]]),
            ("3 Stage 1: half size, 8 steps", [[guider, first, empty], [sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Audio to Video",
            "A song, a voice or a noise is kept as it is, and the picture is made to it. The video carries your sound "
            "itself, not what the model heard of it.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**Sound**: your file; what is longer than the clip is cut.",
                "**Prompt**: say what is seen; name who speaks or plays.",
                "**Canvas**: width and height in steps of 64, frames 8n + 1 (121 are 5 seconds at 24).",
            ),
        ),
    )


def text_to_audio(sheet: Sheet) -> None:
    loader = pieces.checkpoint(sheet, models.DEV)
    prompt, negative = pieces.prompt(sheet, loader, SOUNDS, height=120), pieces.negative(sheet, loader)
    canvas = pieces.canvas(sheet, width=64, height=64)
    empty, schedule = pieces.empty(sheet, canvas, "1"), pieces.schedule(sheet, STEPS)
    guidance, links = pieces.guidance(sheet, "audio only", negative)
    guider = pieces.guider(sheet, "Guider", loader, prompt, **links)
    sample = pieces.sample(sheet, 1, guider, schedule, audio=empty["audio"])
    sound = pieces.decode_audio(sheet, loader, sample["audio"])
    links = {"audio": sound["audio"]}
    save = sheet.node("SaveAudio", "Save Audio", links, {"filename_prefix": "audio/LTX-2"}, width=pieces.WIDE, space=90)
    sheet.lay_out(
        [
            ("1 Models", [[loader]]),
            ("2 Prompts and Length", [[prompt, negative, canvas]]),
            (f"3 Sound: {STEPS} guided steps", [[guidance, schedule, empty], [guider, sample]]),
            ("4 Decode and Save", [[sound, save]]),
        ],
        models.note(
            "LTX-2 Text to Audio",
            "Sound without a picture: the video stream of the model stays off, which makes it several times faster.",
            (models.DEV,),
            (
                "**Prompt**: say what is heard, and in what order.",
                "**Canvas**: only its length counts here: frames over frame rate, 121 at 24 are 5 seconds.",
                STEPS_HINT,
                GUIDANCE_HINT,
            ),
        ),
    )


def dub(sheet: Sheet) -> None:
    loader = pieces.checkpoint(sheet)
    lora = pieces.lora(sheet, "Dub LoRA", models.DUBIT, loader)
    file, parts = pieces.load_video(sheet, "Speaker")
    links = {"video": file["VIDEO"], "video_vae": loader["video VAE"]}
    encoded = sheet.node("LTX2_EncodeVideo", "Size and Length", links)
    links = {"images": parts["images"], "transformer": lora["transformer"]}
    seen = sheet.node("LTX2_VideoReference", "Face", links, width=310)
    voice = sheet.node("LTX2_AudioReference", "Voice", {"audio": parts["audio"], "guides": seen["guides"]})
    prompt = pieces.prompt(sheet, loader, SPEAKER, height=120)
    empty = pieces.empty(sheet, encoded, "1")
    guided = pieces.apply_guides(sheet, 1, voice, loader, video=empty["video"], audio=empty["audio"])
    guider, first = pieces.guider(sheet, "Guider", lora, prompt), pieces.distilled(sheet, 1)
    sample = pieces.sample(sheet, 1, guider, first, video=guided["video"], audio=guided["audio"])
    last = pieces.decode(sheet, loader, sample["video"], sample["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[loader], [lora]]),
            ("2 Speaker and New Words", [[file, parts, prompt], [encoded, seen, voice]]),
            ("3 Eight steps", [[guider, first, empty], [guided, sample]]),
            ("4 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Dub",
            "A speaker says new words: the face follows them, and the voice stays that of the clip. Size, length and "
            "frame rate are those of the source.",
            (models.DISTILLED, models.DUBIT),
            (
                "**Speaker**: a clip of somebody speaking, up to 20 seconds.",
                "**Size and Length**: connect an LTX-2 Canvas of the source's frame rate to make the clip smaller or "
                "shorter.",
                "**Prompt**: describe the speaker and put the new words in quotation marks.",
                "**Stage 1 Sample**: another seed says them in another way.",
            ),
        ),
    )
