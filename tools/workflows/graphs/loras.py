"""LoRAs: a control video through an IC-LoRA, and several LoRAs at once."""

from __future__ import annotations

from .. import models
from ..sheet import Sheet
from . import pieces


def control_video(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    lora = pieces.lora(sheet, "Control LoRA", models.UNION_CONTROL, loader)
    control, parts = pieces.load_video(sheet, "Control Video")
    links = {"images": parts["images"], "transformer": lora["transformer"]}
    reference = sheet.node("LTX2_VideoReference", "Control", links, {"strength": 1.0})
    prompt, canvas = pieces.prompt(sheet, loader), pieces.canvas(sheet, height=768)
    empty = pieces.empty(sheet, canvas)
    guided = pieces.apply_guides(sheet, 1, reference, loader, video=empty["video"])
    guider1, first = pieces.guider(sheet, "Stage 1 Guider", lora, prompt), pieces.distilled(sheet, 1)
    sample1 = pieces.sample(sheet, 1, guider1, first, video=guided["video"], audio=empty["audio"])
    upsample = pieces.upsample(sheet, sample1["video"], larger, loader)
    guider2, second = pieces.guider(sheet, "Stage 2 Guider", loader, prompt), pieces.distilled(sheet, 2)
    sample2 = pieces.sample(sheet, 2, guider2, second, video=upsample["video"], audio=sample1["audio"])
    last = pieces.decode(sheet, loader, sample2["video"], sample2["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger], [lora]]),
            ("2 Control, Prompt and Canvas", [[control, parts, canvas], [reference, prompt]]),
            ("3 Stage 1: half size, 8 steps", [[guider1, first, empty], [guided, sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, guider2, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Control Video",
            "A depth, pose or canny video says where things are and how they move, the prompt says what they are. The "
            "control steers stage 1; stage 2 refines without it.",
            (models.DISTILLED, models.UNION_CONTROL, models.UPSAMPLER),
            (
                "**Control Video**: the edges, depth or poses of a clip. It is followed frame by frame, so it should "
                "have the canvas's frames and frame rate; what is longer is cut, what is shorter leaves the rest free.",
                "**Canvas**: width and height in steps of 128, because the control is seen at half the size of stage "
                "1; frames 8n + 1 (121 are 5 seconds at 24).",
                "**Control**: strength is how closely it is followed; attention strength is how much the clip sees it.",
                "**Prompt**: say what is seen and what is heard, in plain sentences.",
            ),
        ),
    )


def lora_stack(sheet: Sheet) -> None:
    dev, upscaler, distilled = (models.OLDER[file] for file in (models.DEV, models.UPSAMPLER, models.LORA))
    loader, larger = pieces.checkpoint(sheet, dev), pieces.upsampler(sheet, upscaler)
    fast = pieces.lora(sheet, "Distilled LoRA", distilled, loader)
    camera = pieces.lora(sheet, "Camera LoRA", models.DOLLY_IN, fast)
    prompt, canvas = pieces.prompt(sheet, loader), pieces.canvas(sheet)
    stages = pieces.two_distilled_stages(sheet, loader, larger, camera, prompt, canvas)
    sheet.lay_out(
        [
            ("1 Models: one LoRA on the other", [[loader, larger], [fast, camera]]),
            ("2 Prompt and Canvas", [[prompt, canvas]]),
            *stages,
        ],
        models.note(
            "LTX-2 LoRA Stack",
            "Two LoRAs on the full model: the distilled one makes it fast, the other one moves the camera forward. "
            "Chain as many as you like; their order does not matter.",
            (dev, distilled, models.DOLLY_IN, upscaler),
            (
                "**Camera LoRA**: another file, another strength; video, audio and cross strengths scale what it "
                "changes of either, and the report says what matched.",
                *pieces.HINTS,
            ),
        ),
    )
