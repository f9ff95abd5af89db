"""A short idea, written out by the text encoder."""

from __future__ import annotations

from .. import models
from ..sheet import Sheet
from . import pieces

IDEA = "a lighthouse keeper greets a passing whale in a storm"


def prompt_enhancement(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    links = {"text_encoder": loader["text encoder"]}
    enhance = sheet.node("LTX2_EnhancePrompt", "Enhance", links, {"text": IDEA}, width=pieces.WIDE, extra_height=200)
    prompt, canvas = pieces.prompt(sheet, loader, enhance["prompt"], height=60), pieces.canvas(sheet)
    empty = pieces.empty(sheet, canvas)
    guider, first = pieces.guider(sheet, "Guider", loader, prompt), pieces.distilled(sheet, 1)
    sample1 = pieces.sample(sheet, 1, guider, first, video=empty["video"], audio=empty["audio"])
    upsample, second = pieces.upsample(sheet, sample1["video"], larger, loader), pieces.distilled(sheet, 2)
    sample2 = pieces.sample(sheet, 2, guider, second, video=upsample["video"], audio=sample1["audio"])
    last = pieces.decode(sheet, loader, sample2["video"], sample2["audio"])
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Idea, Prompt and Canvas", [[enhance, canvas], [prompt]]),
            ("3 Stage 1: half size, 8 steps", [[guider, first, empty], [sample1]]),
            ("4 Stage 2: full size, 3 steps", [[upsample, second], [sample2]]),
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Prompt Enhancement",
            "The text encoder writes a short idea out into the kind of prompt that the model was trained on; the clip "
            "is then made as in the distilled workflow.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**Enhance**: a few words are enough; another seed tells it another way. Connect an image and it "
                "describes how that picture goes on.",
                "**Canvas**: width and height in steps of 64, frames 8n + 1 (121 are 5 seconds at 24).",
                "**Stage 1 Sample**: another seed makes another clip.",
            ),
        ),
    )
