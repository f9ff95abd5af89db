"""What the graphs have in common: nodes with their usual links, and the prompts they start with."""

from __future__ import annotations

from typing import Any

from .. import models
from ..sheet import Node, Output, Sheet

PROMPT = (
    "Early morning in a small harbour. A fishing boat with a red hull rocks gently at a wooden pier, where an old man "
    "in a yellow raincoat coils a wet rope. Gulls circle above him and low sunlight glitters on the water. The camera "
    "glides slowly towards him. He stops, looks up with a smile and says in a warm, rough voice: "
    '"Looks like a good day to be out there." Waves slap against the hull, the rope creaks, gulls cry and a bell '
    "rings far away."
)
WIDE = 370  # of nodes that show texts or pictures
LETTER, LABEL = 7, 130  # of a widget that shows a file's name: the newer renderer cuts what does not fit
PREVIEW = 380  # free below nodes that show a video: room for one that is as high as wide
PICTURE = 330  # of a node that shows a picture
HINTS = (
    "**Prompt**: say what is seen and what is heard, in plain sentences.",
    "**Canvas**: width and height in steps of 64, frames 8n + 1 (121 are 5 seconds at 24).",
    "**Stage 1 Sample**: another seed makes another clip.",
)


def _width(file: models.ModelFile) -> int:
    """Of the node that loads a file."""
    return max(WIDE, LABEL + LETTER * len(file.name))


def checkpoint(sheet: Sheet, file: models.ModelFile = models.DISTILLED) -> Node:
    values = {"checkpoint": file.name, "text_encoder": models.GEMMA}
    return sheet.node("LTX2_LoadCheckpoint", "Checkpoint", None, values, models=[file.as_property], width=_width(file))


def upsampler(sheet: Sheet, file: models.ModelFile = models.UPSAMPLER) -> Node:
    values = {"file": file.name}
    return sheet.node("LTX2_LoadUpsampler", "Upsampler", None, values, models=[file.as_property], width=_width(file))


def lora(sheet: Sheet, title: str, file: models.ModelFile, onto: Node, strength: float = 1.0) -> Node:
    links, values = {"transformer": onto["transformer"]}, {"lora": file.name, "strength": strength}
    return sheet.node("LTX2_Lora", title, links, values, models=[file.as_property], width=_width(file))


def prompt(sheet: Sheet, loader: Node, text: str | Output = PROMPT, *, height: int = 200) -> Node:
    links: dict[str, Output] = {"text_encoder": loader["text encoder"]}
    values: dict[str, Any] = {}
    if isinstance(text, Output):
        links["text"] = text
    else:
        values["text"] = text
    return sheet.node("LTX2_EncodePrompt", "Prompt", links, values, width=WIDE, extra_height=height)


def negative(sheet: Sheet, loader: Node) -> Node:
    links = {"text_encoder": loader["text encoder"]}
    return sheet.node("LTX2_NegativePrompt", "Negative Prompt", links, width=WIDE, extra_height=90)


def canvas(sheet: Sheet, **values: Any) -> Node:
    return sheet.node("LTX2_Canvas", "Canvas", None, {"width": 1280, "height": 704, **values}, width=WIDE)


def empty(sheet: Sheet, size: Node | Output, scale: str = "1/2") -> Node:
    link = size["canvas"] if isinstance(size, Node) else size
    return sheet.node("LTX2_EmptyLatents", "Empty Latents", {"canvas": link}, {"scale": scale})


def schedule(sheet: Sheet, steps: int, title: str = "Stage 1 Schedule", **links: Output) -> Node:
    return sheet.node("LTX2_Schedule", title, links, {"steps": steps})


def distilled(sheet: Sheet, stage: int) -> Node:
    return sheet.node("LTX2_DistilledSchedule", f"Stage {stage} Schedule", None, {"stage": str(stage)})


def guider(sheet: Sheet, title: str, transformer: Node, positive: Node, **links: Output) -> Node:
    own = {"transformer": transformer["transformer"], "positive": positive["conditioning"]}
    return sheet.node("LTX2_Guider", title, {**own, **links})


def guidance(sheet: Sheet, preset: str, avoided: Node) -> tuple[Node, dict[str, Output]]:
    """The release's guidance, and the guider's links to it and to the negative prompt."""
    node = sheet.node("LTX2_GuidancePreset", "Guidance", None, {"preset": preset})
    outputs = {f"{kind}_guidance": node[f"{kind}_guidance"] for kind in ("video", "audio")}
    return node, {"negative": avoided["conditioning"], **outputs}


def sample(
    sheet: Sheet,
    number: int,
    steering: Node,
    sigmas: Node,
    *,
    what: str = "Stage",
    solver: str | None = None,
    **latents: Output | None,
) -> Node:
    """`latents`: the video and the audio to start from; None for one that is left out."""
    links = {"guider": steering["guider"], "sigmas": sigmas["sigmas"]}
    links |= {name: latent for name, latent in latents.items() if latent is not None}
    values = {"seed": 9 + number, **({"solver": solver} if solver else {})}
    return sheet.node("LTX2_Sample", f"{what} {number} Sample", links, values)


def upsample(sheet: Sheet, video: Output, larger: Node, loader: Node) -> Node:
    links = {"video": video, "upsampler": larger["upsampler"], "video_vae": loader["video VAE"]}
    return sheet.node("LTX2_UpsampleLatent", "Upsample", links)


def apply_guides(sheet: Sheet, stage: int, guides: Node, loader: Node, **latents: Output) -> Node:
    """`latents`: the video, and the audio where guides are sounds."""
    links = {"guides": guides["guides"], "video_vae": loader["video VAE"], **latents}
    if "audio" in latents:
        links["audio_vae"] = loader["audio VAE"]
    return sheet.node("LTX2_ApplyGuides", f"Stage {stage} Guides", links)


def decode_audio(sheet: Sheet, loader: Node, audio: Output) -> Node:
    links = {"audio": audio, "audio_vae": loader["audio VAE"], "vocoder": loader["vocoder"]}
    return sheet.node("LTX2_DecodeAudio", "Decode Audio", links, width=WIDE)


def decode_video(sheet: Sheet, loader: Node, video: Output, sound: Output) -> Node:
    links = {"video": video, "video_vae": loader["video VAE"], "audio": sound}
    return sheet.node("LTX2_DecodeVideo", "Decode Video", links, width=WIDE)


def save_video(sheet: Sheet, loader: Node, video: Output, sound: Output) -> list[Node]:
    """Decode a video, put the sound to it, and save both."""
    clip = decode_video(sheet, loader, video, sound)
    save = sheet.node("LTX2_SaveVideo", "Save Video", {"video": clip["video"]}, width=WIDE, space=PREVIEW)
    return [clip, save]


def decode(sheet: Sheet, loader: Node, video: Output, audio: Output, *, saves: bool = True) -> list[Node]:
    """The column of the last band: sound, video, file."""
    sound = decode_audio(sheet, loader, audio)
    if not saves:
        return [sound, decode_video(sheet, loader, video, sound["audio"])]
    return [sound, *save_video(sheet, loader, video, sound["audio"])]


def two_distilled_stages(
    sheet: Sheet, loader: Node, larger: Node, transformer: Node, positive: Node, size: Node, *, saves: bool = True
) -> list[tuple[str, list[list[Node]]]]:
    """Bands 3 to 5 of a graph without guides: eight steps at half size, three at full size, decode and maybe save."""
    start = empty(sheet, size)
    steering, first = guider(sheet, "Guider", transformer, positive), distilled(sheet, 1)
    sample1 = sample(sheet, 1, steering, first, video=start["video"], audio=start["audio"])
    larger_clip, second = upsample(sheet, sample1["video"], larger, loader), distilled(sheet, 2)
    sample2 = sample(sheet, 2, steering, second, video=larger_clip["video"], audio=sample1["audio"])
    last = decode(sheet, loader, sample2["video"], sample2["audio"], saves=saves)
    return [
        ("3 Stage 1: half size, 8 steps", [[steering, first, start], [sample1]]),
        ("4 Stage 2: full size, 3 steps", [[larger_clip, second], [sample2]]),
        ("5 Decode and Save" if saves else "5 Decode", [last]),
    ]


def load_image(sheet: Sheet, title: str) -> Node:
    return sheet.node("LoadImage", title, None, {"image": "example.png"}, width=WIDE, extra_height=PICTURE)


def image_guide(sheet: Sheet, title: str, image: Node, before: Node | None = None, **values: Any) -> Node:
    links = {"image": image["IMAGE"]}
    if before is not None:
        links["guides"] = before["guides"]
    return sheet.node("LTX2_ImageGuide", title, links, values)


def load_file(sheet: Sheet, title: str) -> Node:
    return sheet.node("LoadVideo", title, None, {"file": "example.mp4"}, width=WIDE, extra_height=PICTURE)


def load_video(sheet: Sheet, title: str) -> tuple[Node, Node]:
    """A video file, and its images, sound and frame rate."""
    file = load_file(sheet, title)
    return file, sheet.node("GetVideoComponents", f"{title}: Parts", {"video": file["VIDEO"]})
