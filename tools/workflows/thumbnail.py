"""A workflow's thumbnail: a drawn scheme of its graph, which promises no picture that the workflow has not made.

Nodes stand in the columns and frames of the sheet, all of one size, so that their titles can be read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIZE = 800, 450
SCALE = 3  # drawn larger and reduced, for smooth curves
MARGIN, HEAD, GAP = 18, 92, 14  # around everything; the title's; between columns and frames
INSET = 8  # of nodes in a frame
LARGEST_BOX = 118, 54
CURVE = 24  # points of a link
BOLD = 1  # around letters; Pillow's font has one weight
LARGEST_FILE = 60_000

BACKGROUND, FRAME, FRAME_EDGE = (18, 20, 26), (27, 30, 39), (52, 58, 74)
TEXT, ON_BOX, ACCENT = (240, 243, 248), (14, 16, 20), (118, 200, 255)
# By the first word that occurs in a node's type; more special words come first.
COLOURS = (
    ("Prompt", (255, 196, 110)),
    ("Guidance", (190, 160, 255)),
    ("Guider", (190, 160, 255)),
    ("Guide", (255, 196, 110)),
    ("Reference", (255, 196, 110)),
    ("Conditioning", (255, 196, 110)),
    ("Schedule", (190, 160, 255)),
    ("Sample", (255, 138, 160)),
    ("LTX2_Load", (118, 200, 255)),
    ("Lora", (118, 200, 255)),
    ("Decode", (126, 222, 160)),
    ("Save", (126, 222, 160)),
    ("LTX2_", (244, 160, 222)),  # canvas, latents, editing
)
OTHERS = (176, 184, 200)  # ComfyUI's own nodes
UNSEEN = ("MarkdownNote", "Note")

Box = tuple[float, float, float, float]


def draw(workflow: Mapping[str, Any], title: str) -> Image.Image:
    """The thumbnail of a UI workflow, 800 x 450."""
    picture = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), BACKGROUND)
    canvas = ImageDraw.Draw(picture, "RGBA")
    nodes = [node for node in workflow["nodes"] if node["type"] not in UNSEEN]
    frames, boxes = _places(_bands(workflow["groups"], nodes))
    for frame in frames:
        canvas.rounded_rectangle(_scaled(frame), 10 * SCALE, FRAME, FRAME_EDGE, SCALE)
    colours = {node["id"]: _colour(node["type"]) for node in nodes}
    for _, source, _, target, *_ in workflow["links"]:
        if source in boxes and target in boxes:
            _link(canvas, boxes[source], boxes[target], colours[source])
    for node in nodes:
        _node(canvas, boxes[node["id"]], node["title"], colours[node["id"]])
    _title(canvas, title)
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def jpeg(picture: Image.Image) -> bytes:
    """The picture as a JPEG file of less than 60 kB; the same bytes for the same picture."""
    for quality in (92, 85, 75, 60):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() < LARGEST_FILE:
            break
    return file.getvalue()


def _bands(groups: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]) -> list[list[list[int]]]:
    """Ids of the nodes in each frame, by columns from left to right, each from top to bottom."""
    bands: dict[float, dict[float, list[tuple[float, int]]]] = {}
    for node in nodes:
        x, y = node["pos"]
        lefts = [group["bounding"][0] for group in groups if group["bounding"][0] <= x]
        bands.setdefault(max(lefts, default=0.0), {}).setdefault(x, []).append((y, node["id"]))
    return [[[id_ for _, id_ in sorted(columns[x])] for x in sorted(columns)] for _, columns in sorted(bands.items())]


def _places(bands: Sequence[Sequence[Sequence[int]]]) -> tuple[list[Box], dict[int, Box]]:
    """(frames, boxes by node): columns share the width, rows of the longest column the height."""
    columns, rows = sum(map(len, bands)), max(len(column) for band in bands for column in band)
    room = SIZE[0] - 2 * MARGIN - GAP * (columns - 1) - 2 * INSET * len(bands)
    width = min(room / columns, LARGEST_BOX[0])
    top, bottom = HEAD + INSET, SIZE[1] - MARGIN - INSET
    pitch = (bottom - top) / rows
    height = min(pitch - 10, LARGEST_BOX[1])
    left = (SIZE[0] - columns * width - GAP * (columns - 1) - 2 * INSET * len(bands)) / 2
    frames, boxes = [], {}
    for band in bands:
        frame = left
        left += INSET
        for column in band:
            middle = (top + bottom) / 2 - pitch * (len(column) - 1) / 2
            for row, id_ in enumerate(column):
                centre = middle + row * pitch
                boxes[id_] = (left, centre - height / 2, left + width, centre + height / 2)
            left += width + GAP
        frames.append((frame, top - INSET, left - GAP + INSET, bottom + INSET))
        left += INSET
    return frames, boxes


def _colour(type_: str) -> tuple[int, int, int]:
    return next((colour for word, colour in COLOURS if word in type_), OTHERS)


def _scaled(box: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(each * SCALE) for each in box)


def _link(canvas: ImageDraw.ImageDraw, source: Box, target: Box, colour: tuple[int, int, int]) -> None:
    """A Bezier curve from the right of one box to the left of another; between boxes of one column a straight line."""
    x0, y0, x1, y1 = source[2], (source[1] + source[3]) / 2, target[0], (target[1] + target[3]) / 2
    if source[0] == target[0]:
        x0 = x1 = (source[0] + source[2]) / 2
    bend = 0 if x0 == x1 else max(18.0, abs(x1 - x0) / 2)
    points = []
    for step in range(CURVE + 1):
        t = step / CURVE
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
        points.append(_scaled((a * x0 + b * (x0 + bend) + c * (x1 - bend) + d * x1, (a + b) * y0 + (c + d) * y1)))
    canvas.line(points, (*colour, 170), 2 * SCALE, "curve")


def _node(canvas: ImageDraw.ImageDraw, box: Box, title: str, colour: tuple[int, int, int]) -> None:
    canvas.rounded_rectangle(_scaled(box), 7 * SCALE, colour)
    width, height = box[2] - box[0] - 8, box[3] - box[1] - 4
    for size in (14, 13, 12, 11, 10, 9, 8):
        font = ImageFont.load_default(size * SCALE)
        lines = _wrapped(title, font, width * SCALE)
        if lines and len(lines) * size * 1.15 <= height:
            break
    text = "\n".join(lines or [title])
    centre = _scaled(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    canvas.multiline_text(centre, text, ON_BOX, font, "mm", SCALE, "center", stroke_width=BOLD)


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """`text` in lines of at most `width`; nothing where a word is longer."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if all(font.getlength(line) <= width for line in lines) else []


def _title(canvas: ImageDraw.ImageDraw, title: str) -> None:
    """Large, its first word (LTX-2) in another colour."""
    width = (SIZE[0] - 2 * MARGIN) * SCALE
    size = 46
    while ImageFont.load_default(size * SCALE).getlength(title) > width:
        size -= 1
    font = ImageFont.load_default(size * SCALE)
    first, _, rest = title.partition(" ")
    left, middle = MARGIN * SCALE, HEAD // 2 * SCALE
    canvas.text((left, middle), first, ACCENT, font, "lm", stroke_width=BOLD)
    canvas.text((left + font.getlength(f"{first} "), middle), rest, TEXT, font, "lm", stroke_width=BOLD)
