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
    stages = pieces.two_distilled_stages(sheet, loader, larger, loader, prompt, canvas)
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Idea, Prompt and Canvas", [[enhance, canvas], [prompt]]),
            *stages,
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
