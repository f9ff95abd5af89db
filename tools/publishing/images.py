"""The pack's icon and banner: a drawn scheme of nodes, a strip of empty frames and a wave of sound.

They promise no picture that a model has made.
"""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

ICON = 400, 400  # the largest that the registry takes
BANNER = 1260, 540  # 21:9
SCALE = 3  # drawn larger and reduced, for smooth curves
CURVE = 32  # points of a link
BARS = 15  # of the wave

BACKGROUND, EDGE, FRAME = (18, 20, 26), (52, 58, 74), (27, 30, 39)
TEXT, FAINT, ACCENT = (240, 243, 248), (168, 177, 196), (118, 200, 255)
PROMPT, MODEL, SAMPLER = (255, 196, 110), (118, 200, 255), (255, 138, 160)
VIDEO, SOUND = (126, 222, 160), (244, 160, 222)

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Sheet:
    """A picture that is drawn on in its final pixels, `SCALE` times larger inside."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.picture = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), BACKGROUND)
        self.canvas = ImageDraw.Draw(self.picture)

    def box(self, at: Point, size: Point, radius: float, fill: Colour, edge: Colour | None = None) -> None:
        corners = [at[0], at[1], at[0] + size[0], at[1] + size[1]]
        scaled = [round(each * SCALE) for each in corners]
        self.canvas.rounded_rectangle(scaled, radius * SCALE, fill, edge, 2 * SCALE if edge else 0)

    def link(self, start: Point, end: Point, colour: Colour, width: int) -> None:
        """An S from left to right, as ComfyUI draws links."""
        bend = (end[0] - start[0]) / 2
        points = []
        for step in range(CURVE + 1):
            t = step / CURVE
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            x = a * start[0] + b * (start[0] + bend) + c * (end[0] - bend) + d * end[0]
            points.append((round(x * SCALE), round(((a + b) * start[1] + (c + d) * end[1]) * SCALE)))
        self.canvas.line(points, colour, width * SCALE, "curve")

    def text(self, at: Point, text: str, size: float, colour: Colour, anchor: str, bold: int) -> None:
        font = ImageFont.load_default(size * SCALE)
        where = (at[0] * SCALE, at[1] * SCALE)
        self.canvas.text(where, text, colour, font, anchor, stroke_width=bold, stroke_fill=colour)

    def finished(self) -> Image.Image:
        return self.picture.resize(self.size, Image.Resampling.LANCZOS)


def icon() -> Image.Image:
    """400 x 400: the name, two nodes that feed one, a strip and a wave."""
    sheet = Sheet(ICON)
    sheet.text((200, 82), "LTX-2", 104, TEXT, "mm", 4)
    for y, colour in ((168, PROMPT), (244, MODEL)):
        sheet.link((112, y + 24), (158, 230), colour, 8)
        sheet.box((36, y), (76, 48), 10, colour)
    sheet.link((234, 230), (280, 192), VIDEO, 8)
    sheet.link((234, 230), (280, 268), SOUND, 8)
    sheet.box((158, 196), (76, 68), 12, SAMPLER)
    sheet.box((280, 168), (84, 48), 10, VIDEO)
    sheet.box((280, 244), (84, 48), 10, SOUND)
    _wave(sheet, (36, 344), (328, 52))
    return sheet.finished()


def banner() -> Image.Image:
    """1260 x 540: the name and what the pack does, and a prompt that becomes frames and sound."""
    sheet = Sheet(BANNER)
    sheet.text((70, 112), "LTX-2", 120, ACCENT, "lm", 5)
    sheet.text((440, 94), "video with synchronised sound", 40, TEXT, "lm", 2)
    sheet.text((440, 144), "nodes for ComfyUI, and a command line", 32, FAINT, "lm", 1)
    for y, colour in ((250, PROMPT), (380, MODEL)):
        sheet.link((270, y + 35), (350, 350), colour, 8)
    sheet.link((550, 350), (640, 285), VIDEO, 8)
    sheet.link((550, 350), (640, 425), SOUND, 8)
    for at, size, name, colour in (
        ((70, 250), (200, 70), "prompt", PROMPT),
        ((70, 380), (200, 70), "model", MODEL),
        ((350, 300), (200, 100), "sampler", SAMPLER),
    ):
        sheet.box(at, size, 14, colour)
        sheet.text((at[0] + size[0] / 2, at[1] + size[1] / 2), name, 32, BACKGROUND, "mm", 2)
    sheet.box((640, 220), (550, 130), 14, FRAME, EDGE)
    for index in range(5):
        sheet.box((658 + index * 104.5, 240), (96, 90), 6, VIDEO)
    sheet.box((640, 370), (550, 110), 14, FRAME, EDGE)
    _wave(sheet, (664, 425), (502, 78))
    return sheet.finished()


def _wave(sheet: Sheet, left: Point, size: Point) -> None:
    """Bars of sound: `left` is the middle of the left end."""
    pitch = size[0] / (BARS - 0.4)
    for index in range(BARS):
        swell = math.sin(math.pi * (index + 0.5) / BARS) * (0.65 + 0.35 * math.cos(index * 2.3))
        height = size[1] * max(swell, 0.16)
        sheet.box((left[0] + index * pitch, left[1] - height / 2), (pitch * 0.6, height), pitch * 0.3, SOUND)
