"""What the browser computes of a canvas is what the library computes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
MODULES = "/extensions/comfyui-ltx2/js"
CANVASES = [
    {"width": width, "height": height, "frames": frames, "frame_rate": rate}
    for width, height, frames, rate in (
        (768, 512, 121, 24.0),
        (1280, 704, 121, 24.0),
        (1920, 1088, 257, 25.0),
        (3840, 2176, 121, 50.0),
        (512, 512, 481, 24.0),
        (8192, 64, 97, 30.0),
        (64, 64, 1, 240.0),
        (832, 480, 121, 50.0),  # 60.5 audio latents
        (1024, 1024, 9, 23.976),
        (960, 544, 161, 29.97),
        (544, 960, 33, 10.0),  # 82.5 audio latents; no half size
        (4096, 2304, 2049, 120.0),
    )
]
# Every value that may be asked for is tried near the ends of the ranges and about the defaults.
SIZES = [*range(-40, 200), *range(500, 580), *range(8100, 8300)]
FRAMES = [*range(-20, 60), *range(100, 140), *range(2030, 2070)]


@pytest.fixture(scope="module")
def page(chromium, server):
    """A page on the server that only imports modules."""
    page = chromium.new_page()
    page.goto(f"{server.url}extensions/comfyui-ltx2/estimates.json")
    yield page
    page.close()


@pytest.fixture(scope="module")
def tool(tool_module):
    """The module of the tool that reads the numbers from the library."""
    return tool_module("web/numbers.py")


def call(page, module, function, *rows):
    """The results of a module's function for each row of arguments; it is given the numbers behind them."""
    script = """async ([module, name, rows]) => {
        const numbers = await (await fetch('/extensions/comfyui-ltx2/estimates.json')).json()
        const functions = await import(module)
        return rows.map(row => functions[name](...row, numbers))
    }"""
    return page.evaluate(script, [f"{MODULES}/{module}.mjs", function, [list(row) for row in rows]])


def nearest_in(check, value):
    """The values that the library's error names; [value] where it has none to name."""
    from comfyui_ltx2.ltx2.errors import LTX2Error

    try:
        check(value)
    except LTX2Error as error:
        return [int(each) for each in re.search(r"nearest: ([^)]*)", str(error)).group(1).split(", ")]
    return [value]


def test_the_numbers_are_those_of_the_library(tool, object_info):
    written = json.loads((ROOT / "web" / "estimates.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(tool.numbers(object_info))), "run `python -m tools.web`"


def test_tokens_and_memory_equal_the_librarys(page, tool):
    from comfyui_ltx2.ltx2.errors import LTX2Error
    from comfyui_ltx2.ltx2.geometry import Canvas, latent_frames

    shown = call(page, "estimates", "summary", *([canvas] for canvas in CANVASES))
    for values, result in zip(CANVASES, shown, strict=True):
        canvas = Canvas(**values)
        audio = canvas.audio_shape(8, 16)[2]
        assert result["audio"] == audio, values
        assert result["latents"] == latent_frames(canvas.frames)
        assert result["seconds"] == pytest.approx(canvas.frames / canvas.frame_rate)
        assert result["decode"] == tool.decoding_bytes(canvas.frames, canvas.height, canvas.width), values
        assert [each["scale"] for each in result["scales"]] == [2, 1]
        for each in result["scales"]:
            try:
                _, _, frames, height, width = canvas.video_shape(128, each["scale"])
            except LTX2Error:
                assert each["tokens"] is None
                assert each["bytes"] is None
                continue
            tokens = frames * height * width
            assert each["tokens"] == tokens
            assert each["bytes"] == tool.sampling_bytes(tokens, audio), values


def test_sums_of_the_largest_estimates_are_found(tool):
    """A function of two sums, one of which is the larger only near an axis."""

    def most(x, y):
        return max(7 + 3 * x + 2 * x * y, 5 * y, 11)

    points = [(x, y) for x in (1, 2, 5, 40) for y in (1, 3, 30)]
    found = tool.pieces(most, points)
    assert [7, 3, 0, 2] in found
    assert all(max(tool.evaluated(one, point) for one in found) == most(*point) for point in points)


def test_nearest_values_are_those_that_errors_name(page):
    from comfyui_ltx2.ltx2.geometry import check_frames, check_size

    for step in (32, 64):
        expected = [nearest_in(lambda value, step=step: check_size("width", value, step), value) for value in SIZES]
        assert call(page, "rules", "nearest", *((value, step, 0) for value in SIZES)) == expected
    expected = [nearest_in(check_frames, value) for value in FRAMES]
    assert call(page, "rules", "nearest", *((value, 8, 1) for value in FRAMES)) == expected


@pytest.mark.parametrize("rate", [1.0, 10.0, 23.976, 24.0, 25.0, 29.97, 50.0, 60.0, 120.0])
def test_the_longest_clip_is_the_longest_that_can_be_sampled(page, rate):
    from comfyui_ltx2.ltx2.editing.timeline import check_limit
    from comfyui_ltx2.ltx2.errors import LTX2Error
    from comfyui_ltx2.ltx2.geometry import check_frames, latent_frames

    (frames,) = call(page, "rules", "longest", (rate, 10**6))
    check_frames(frames)
    check_limit(latent_frames(frames), rate)
    with pytest.raises(LTX2Error):
        check_limit(latent_frames(frames) + 1, rate)


def test_the_canvas_refuses_what_the_panel_calls_refused(page, object_info):
    """And nothing else; the ranges are those of the widgets."""
    from comfyui_ltx2.nodes.host.headless.session import session

    specs = object_info["LTX2_Canvas"]["input"]["required"]
    ranges = {name: {key: spec[1][key] for key in ("min", "max")} for name, spec in specs.items()}
    values = [(700, 512, 121), (768, 8224, 121), (32, 512, 121), (768, 512, 120), (768, 512, 2057), (800, 512, 121)]
    canvases = [dict(zip(("width", "height", "frames"), each, strict=True)) | {"frame_rate": 120.0} for each in values]
    found = call(page, "rules", "problems", *((canvas, ranges) for canvas in canvases))
    with session() as executor:
        check = executor.classes["LTX2_Canvas"].validate_inputs
        for canvas, problems in zip(canvases, found, strict=True):
            sizes = {name: canvas[name] for name in ("width", "height", "frames")}
            refused = any(problem["rule"] != "stages" for problem in problems)
            assert (check(**sizes) is not True) == refused, canvas
            for problem in problems:
                assert problem["values"], canvas
                assert all(check(**sizes | {problem["name"]: value}) is True for value in problem["values"]), canvas


@pytest.mark.parametrize(
    "frame, step, expected", [(-5, 1, 0), (60.4, 1, 60), (500, 1, 120), (61, 8, 64), (500, 8, 120), (3.9, 8, 0)]
)
def test_guides_are_moved_to_frames_that_the_clip_has(page, frame, step, expected):
    script = "async ([module, row]) => (await import(module)).snapped(...row)"
    assert page.evaluate(script, [f"{MODULES}/timeline.mjs", [frame, 121, step]]) == expected


def test_guides_that_count_from_the_end_go_on_doing_so(page):
    script = (
        "async ([module, rows]) => { const { written } = await import(module); return rows.map(r => written(...r)) }"
    )
    rows = [[60, 121, 10], [60, 121, -1], [120, 121, -9], [0, 121, -9]]
    assert page.evaluate(script, [f"{MODULES}/timeline.mjs", rows]) == [60, -61, -1, 0]
