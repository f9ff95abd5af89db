"""Pictures that the clip must show."""

from __future__ import annotations

from .. import models
from ..sheet import Node, Sheet
from . import pieces

PROMPT = (
    "The picture comes to life. The camera drifts slowly forward while soft light moves over the scene and small "
    "things stir in a light breeze. The wind is heard close by, leaves rustle, and a few quiet piano notes ring out "
    "and fade."
)


def _two_stages(sheet: Sheet, loader: Node, larger: Node, guides: Node) -> tuple[list[Node], list, list]:
    """Prompt and canvas, the bands of both distilled stages with `guides` in both, and the last column."""
    prompt, canvas = pieces.prompt(sheet, loader, PROMPT, height=120), pieces.canvas(sheet)
    empty = pieces.empty(sheet, canvas)
    guided1 = pieces.apply_guides(sheet, 1, guides, loader, video=empty["video"])
    guider, first = pieces.guider(sheet, "Guider", loader, prompt), pieces.distilled(sheet, 1)
    sample1 = pieces.sample(sheet, 1, guider, first, video=guided1["video"], audio=empty["audio"])
    upsample = pieces.upsample(sheet, sample1["video"], larger, loader)
    guided2 = pieces.apply_guides(sheet, 2, guides, loader, video=upsample["video"])
    second = pieces.distilled(sheet, 2)
    sample2 = pieces.sample(sheet, 2, guider, second, video=guided2["video"], audio=sample1["audio"])
    bands = [
        ("3 Stage 1: half size, 8 steps", [[guider, first, empty], [guided1, sample1]]),
        ("4 Stage 2: full size, 3 steps", [[upsample, second], [guided2, sample2]]),
    ]
    return [prompt, canvas], bands, pieces.decode(sheet, loader, sample2["video"], sample2["audio"])


def image_to_video_distilled(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    image = pieces.load_image(sheet, "First Frame")
    guide = pieces.image_guide(sheet, "Image Guide", image, frame=0)
    given, stages, last = _two_stages(sheet, loader, larger, guide)
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Image, Prompt and Canvas", [[image, *given], [guide]]),
            *stages,
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Image to Video, distilled",
            "A picture becomes the first frame of a video with sound, in eleven steps without guidance. It guides both "
            "stages, each at its own size.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**First Frame**: your picture; it is scaled to cover the clip and cropped.",
                *pieces.HINTS,
                "**Image Guide**: a lower strength lets the clip leave the picture sooner.",
            ),
        ),
    )


def first_and_last_frame(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    first, final = pieces.load_image(sheet, "First Frame"), pieces.load_image(sheet, "Last Frame")
    start = pieces.image_guide(sheet, "First Frame Guide", first, frame=0)
    end = pieces.image_guide(sheet, "Last Frame Guide", final, start, frame=-1)
    given, stages, last = _two_stages(sheet, loader, larger, end)
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Images, Prompt and Canvas", [[first, final], [start, end, *given]]),
            *stages,
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 First and Last Frame",
            "One picture begins the clip, another one ends it, and the model finds the way between them.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**First Frame, Last Frame**: your pictures; they are scaled to cover the clip and cropped.",
                *pieces.HINTS,
                "**Last Frame Guide**: frame -1 is the last one, whatever the clip's length.",
            ),
        ),
    )


def keyframes(sheet: Sheet) -> None:
    loader, larger = pieces.checkpoint(sheet), pieces.upsampler(sheet)
    images = [pieces.load_image(sheet, f"Picture {number}") for number in (1, 2, 3)]
    guides: list[Node] = []
    for number, (image, frame) in enumerate(zip(images, (0, 56, -1), strict=True), 1):
        before = guides[-1] if guides else None
        guides.append(pieces.image_guide(sheet, f"Keyframe {number}", image, before, frame=frame, append=True))
    given, stages, last = _two_stages(sheet, loader, larger, guides[-1])
    sheet.lay_out(
        [
            ("1 Models", [[loader, larger]]),
            ("2 Keyframes, Prompt and Canvas", [images, [*guides, *given]]),
            *stages,
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Keyframes",
            "Several pictures at several frames. All of them are keyframes that the clip passes through, the first one "
            "too: it is not copied into the clip, but seen by the model.",
            (models.DISTILLED, models.UPSAMPLER),
            (
                "**Picture 1, 2, 3**: your pictures; chain more LTX-2 Image Guide nodes for more of them.",
                "**Keyframe 1, 2, 3**: the frame that shows each; a lower strength passes it more freely.",
                *pieces.HINTS,
            ),
        ),
    )
