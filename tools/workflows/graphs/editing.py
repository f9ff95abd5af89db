"""Clips that exist already: regenerate a part of one, or continue it."""

from __future__ import annotations

from collections.abc import Mapping

from .. import models
from ..sheet import Node, Output, Sheet
from . import pieces

Bands = list[tuple[str, list[list[Node]]]]

PROMPT = (
    "The same scene goes on in the same light. A dog runs into the picture from the left, stops, shakes itself and "
    "barks twice. Its paws patter on the ground and the birds fall silent."
)

CONTEXT = 2.0  # seconds of a long clip that each round sees again


def _encoded(sheet: Sheet, loader: Node) -> tuple[Node, Node, Node]:
    """The source clip, and its picture and its sound as latents."""
    source = pieces.load_file(sheet, "Source Video")
    links = {"video": source["VIDEO"], "video_vae": loader["video VAE"]}
    video = sheet.node("LTX2_EncodeVideo", "Encode Video", links)
    links = {"audio": video["audio"], "audio_vae": loader["audio VAE"], "canvas": video["canvas"]}
    return source, video, sheet.node("LTX2_EncodeAudio", "Encode Audio", links)


def _edited(sheet: Sheet, loader: Node, name: str, values: Mapping[str, float], **look: int) -> Bands:
    """The bands of a graph that edits a clip with the node of this name and samples it anew."""
    prompt = pieces.prompt(sheet, loader, PROMPT, height=120)
    source, video, audio = _encoded(sheet, loader)
    links = {"video": video["video"], "audio": audio["audio"]}
    edit = sheet.node(f"LTX2_{name}", name, links, values, **look)
    guider, first = pieces.guider(sheet, "Guider", loader, prompt), pieces.distilled(sheet, 1)
    sample = pieces.sample(sheet, 1, guider, first, video=edit["video"], audio=edit["audio"])
    last = pieces.decode(sheet, loader, sample["video"], sample["audio"])
    return [
        ("1 Models", [[loader]]),
        ("2 Source and Prompt", [[source, prompt], [video, audio]]),
        (f"3 {name}: eight steps", [[edit, guider, first], [sample]]),
        ("4 Decode and Save", [last]),
    ]


def retake(sheet: Sheet) -> None:
    loader = pieces.checkpoint(sheet)
    sheet.lay_out(
        _edited(sheet, loader, "Retake", {"start": 2.0, "end": 4.0}, width=310),
        models.note(
            "LTX-2 Retake",
            "A part of a clip is made anew, picture and sound together; what lies before and after it stays, and the "
            "new part fits in between.",
            (models.DISTILLED,),
            (
                "**Source Video**: your clip, up to 20 seconds; connect an LTX-2 Canvas to **Encode Video** to make it "
                "smaller or shorter.",
                "**Retake**: from which second to which, here 2 to 4; picture or sound can be left as it is.",
                "**Prompt**: describe the whole clip as it shall be.",
            ),
        ),
    )


def extend(sheet: Sheet) -> None:
    loader = pieces.checkpoint(sheet)
    sheet.lay_out(
        _edited(sheet, loader, "Extend", {"seconds": 3.0}),
        models.note(
            "LTX-2 Extend",
            "A clip goes on for some seconds, with its sound, or gets a beginning. The source stays as it is.",
            (models.DISTILLED,),
            (
                "**Source Video**: your clip; together with the new seconds up to 20. Connect an LTX-2 Canvas to "
                "**Encode Video** to make it smaller or shorter.",
                "**Extend**: how many seconds, and on which side.",
                "**Prompt**: describe what happens in the whole clip.",
            ),
        ),
    )


def long_clip(sheet: Sheet) -> None:
    loader = pieces.checkpoint(sheet)
    prompt = pieces.prompt(sheet, loader, PROMPT, height=120)
    source, video, audio = _encoded(sheet, loader)
    guider, first = pieces.guider(sheet, "Guider", loader, prompt), pieces.distilled(sheet, 1)
    bands, clip = [], (video["video"], audio["audio"])
    for round_ in (1, 2):
        columns, clip = _round(sheet, round_, clip, guider, first)
        bands.append((f"{2 + round_} Round {round_}: the last seconds go on", columns))
    last = pieces.decode(sheet, loader, *clip)
    sheet.lay_out(
        [
            ("1 Models", [[loader]]),
            ("2 Source and Prompt", [[source, prompt], [video, audio, guider, first]]),
            *bands,
            ("5 Decode and Save", [last]),
        ],
        models.note(
            "LTX-2 Long Clip",
            "A clip that grows beyond what the model sees at once (20 seconds): each round takes the last seconds, "
            "continues them, and joins what is new to the whole. Copy a round for more.",
            (models.DISTILLED,),
            (
                "**Source Video**: your clip.",
                "**Context**: how many of the last seconds the model sees, here 2; **Join** overlaps by as many.",
                "**Extend**: how many seconds each round adds.",
                "**Prompt**: connect another one to each round's guider, and the story goes on.",
            ),
        ),
    )


def _round(
    sheet: Sheet, number: int, clip: tuple[Output, Output], guider: Node, sigmas: Node
) -> tuple[list[list[Node]], tuple[Output, Output]]:
    """One round of a long clip, and what the clip is then."""
    links = {"video": clip[0], "audio": clip[1]}
    context = sheet.node("LTX2_TrimLatents", f"Context {number}", links, {"start": -CONTEXT})
    links = {"video": context["video"], "audio": context["audio"]}
    more = sheet.node("LTX2_Extend", f"Extend {number}", links, {"seconds": 3.0})
    sampled = pieces.sample(sheet, number, guider, sigmas, what="Round", video=more["video"], audio=more["audio"])
    links = {
        "first_video": clip[0],
        "second_video": sampled["video"],
        "first_audio": clip[1],
        "second_audio": sampled["audio"],
    }
    joined = sheet.node("LTX2_JoinLatents", f"Join {number}", links, {"overlap": CONTEXT})
    return [[context, more], [sampled, joined]], (joined["video"], joined["audio"])
