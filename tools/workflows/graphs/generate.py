"""From a prompt alone to video with sound: guided or distilled, in two stages or in one."""

from __future__ import annotations

from .. import models
from ..sheet import Sheet
from . import pieces

STEPS = 30  # of a guided stage with LTX-2.3; LTX-2.0 takes 40
STEPS_HINT = "**Stage 1 Schedule**: 30 steps suit LTX-2.3, 40 suit LTX-2.0."
GUIDANCE_HINT = (
    "**Guidance**: how closely picture and sound follow the prompt; LTX-2 Guidance sets every scale by hand."
)


def text_to_video(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet, models.DEV), pieces.upsampler(sheet)
    lora = pieces.lora(sheet, "Distilled LoRA", models.LORA, loader)
    prompt, negative = pieces.prompt(sheet, loader), pieces.negative(sheet, loader)
    canvas = pieces.canvas(sheet)
    empty, schedule = pieces.empty(sheet, canvas), pieces.schedule(sheet, STEPS)
    guidance, links = pieces.guidance(sheet, "LTX-2 dev", negative)
    guider1 = pieces.guider(sheet, "Stage 1 Guider", loader, prompt, **links)
    sample1 = pieces.sample(sheet, 1, guider1, schedule, video=empty["video"], audio=empty["audio"])
    upsample = pieces.upsample(sheet, sample1["video"], larger, loader)
    guider2, second = pieces.guider(sheet, "Stage 2 Guider", lora, prompt), pieces.distilled(sheet, 2)
    sample2 = pieces.sample(sheet, 2, guider2, second, video=upsample["video"], audio=sample1["audio"])
    last = pieces.decode(sheet, loader, sample2["video"], sample1["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger], [lora]]),
            ("2 Prompts and Canvas", [[prompt, negative, canvas]]),
            (f"3 Stage 1: half size, {STEPS} guided steps", [[guidance, schedule, empty], [guider1, sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, guider2, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Text to Video",
            "The full model with guidance at half size, then the upsampler and the distilled LoRA at full size. Slower "
            "than the distilled workflow, and closer to the prompt. The sound is that of stage 1.",
            (models.DEV, models.LORA, models.UPSAMPLER),
            (*pieces.HINTS, STEPS_HINT, GUIDANCE_HINT),
        ),
    )


def text_to_video_distilled(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    prompt, canvas = pieces.prompt(sheet, loader), pieces.canvas(sheet)
    stages = pieces.two_distilled_stages(sheet, loader, larger, loader, prompt, canvas)
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Prompt and Canvas", [[prompt, canvas]]),
            *stages,
        ],
        models.note(
            "LTX-2 Text to Video, distilled",
            "Eleven steps without guidance: the quick way from a prompt to a video with sound. Stage 1 makes the clip "
            "at half size, stage 2 refines it at full size.",
            (models.DISTILLED, models.UPSAMPLER),
            pieces.HINTS,
        ),
    )


def text_to_video_one_stage(sheet: Sheet) -> None:
    loader = pieces.checkpoint(sheet, models.DEV)
    prompt, negative = pieces.prompt(sheet, loader), pieces.negative(sheet, loader)
    canvas = pieces.canvas(sheet, width=768, height=512)
    empty, schedule = pieces.empty(sheet, canvas, "1"), pieces.schedule(sheet, STEPS)
    guidance, links = pieces.guidance(sheet, "LTX-2 dev", negative)
    guider = pieces.guider(sheet, "Guider", loader, prompt, **links)
    sample = pieces.sample(sheet, 1, guider, schedule, video=empty["video"], audio=empty["audio"])
    last = pieces.decode(sheet, loader, sample["video"], sample["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[loader]]),
            ("2 Prompts and Canvas", [[prompt, negative, canvas]]),
            (f"3 Full size, {STEPS} guided steps", [[guidance, schedule, empty], [guider, sample]]),
            ("4 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Text to Video, one stage",
            "The full model with guidance, at the final size from the start. The plainest graph, good for small clips "
            "and for trying scales.",
            (models.DEV,),
            (*pieces.HINTS, STEPS_HINT, GUIDANCE_HINT),
        ),
    )


def text_to_video_hq(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet, models.DEV), pieces.upsampler(sheet)
    light = pieces.lora(sheet, "Stage 1 Distilled LoRA", models.LORA, loader, 0.25)
    strong = pieces.lora(sheet, "Stage 2 Distilled LoRA", models.LORA, loader, 0.5)
    prompt, negative = pieces.prompt(sheet, loader), pieces.negative(sheet, loader)
    canvas = pieces.canvas(sheet, width=1920, height=1088)
    empty = pieces.empty(sheet, canvas)
    schedule = pieces.schedule(sheet, 15, video=empty["video"])
    guidance, links = pieces.guidance(sheet, "HQ (res_2s)", negative)
    guider1 = pieces.guider(sheet, "Stage 1 Guider", light, prompt, **links)
    sample1 = pieces.sample(sheet, 1, guider1, schedule, solver="res_2s", video=empty["video"], audio=empty["audio"])
    upsample = pieces.upsample(sheet, sample1["video"], larger, loader)
    guider2, second = pieces.guider(sheet, "Stage 2 Guider", strong, prompt), pieces.distilled(sheet, 2)
    sample2 = pieces.sample(sheet, 2, guider2, second, solver="res_2s", video=upsample["video"], audio=sample1["audio"])
    last = pieces.decode(sheet, loader, sample2["video"], sample1["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger], [light, strong]]),
            ("2 Prompts and Canvas", [[prompt, negative, canvas]]),
            ("3 Stage 1: half size, 15 guided steps", [[guidance, schedule, empty], [guider1, sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, guider2, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Text to Video, HQ",
            "The reference's high-quality recipe for LTX-2.3: the second-order solver res_2s, which asks the model "
            "twice a step, and a little of the distilled LoRA, in both stages. The sound is that of stage 1.",
            (models.DEV, models.LORA, models.UPSAMPLER),
            (*pieces.HINTS, GUIDANCE_HINT),
        ),
    )
