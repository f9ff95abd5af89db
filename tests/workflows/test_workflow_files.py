"""The shipped files: sound as graphs, tidy to look at, and naming released models only."""

from __future__ import annotations

import json
import re
from io import BytesIO
from itertools import combinations
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = json.loads(Path(__file__).with_name("expected.json").read_text())
RELEASED = json.loads(Path(__file__).with_name("released_files.json").read_text())
HUB = "https://huggingface.co/"
GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
PAGES = {f"{HUB}google/{GEMMA}", f"{HUB}Lightricks/LTX-2.3"}
CORE = {"LoadImage", "LoadVideo", "LoadAudio", "GetVideoComponents", "SaveAudio", "MarkdownNote"}
TITLE = 30  # height of a node's title, above its position
SHOWS_VIDEO = {"LTX2_SaveVideo": 250}  # free below it


def url(name: str) -> str:
    return f"{HUB}{RELEASED[name][1]}/resolve/main/{name}"


def box(node) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node with its title and with the room for what it shows."""
    (left, top), (width, height) = node["pos"], node["size"]
    return left, top - TITLE, left + width, top + height + SHOWS_VIDEO.get(node["type"], 0)


def inside(inner, outer) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def apart(a, b, gap: float) -> bool:
    return a[2] + gap <= b[0] or b[2] + gap <= a[0] or a[3] + gap <= b[1] or b[3] + gap <= a[1]


def frames(ui):
    """Boxes of the groups."""
    return [(x, y, x + width, y + height) for x, y, width, height in (group["bounding"] for group in ui["groups"])]


def test_every_expected_workflow_is_shipped_with_its_twin_and_its_thumbnail():
    folder = ROOT / "workflows"
    names = set(EXPECTED)
    assert {file.stem for file in folder.glob("*.json")} == names
    assert {file.stem for file in (folder / "api").glob("*.json")} == names
    assert {file.stem for file in folder.glob("*.jpg")} == names


def test_the_thumbnail_is_what_the_tool_draws(shipped, tool):
    file = shipped.file.with_suffix(".jpg")
    drawn = Image.open(BytesIO(tool("thumbnail").jpeg(tool("thumbnail").draw(shipped.ui, shipped.file.stem))))
    with Image.open(file) as kept:
        assert kept.size == drawn.size
        difference = ImageChops.difference(kept, drawn)
    # Versions of libjpeg differ in rounding; the most alike of two are 14 off.
    assert max(ImageStat.Stat(difference).rms) < 3, "run `python -m tools.workflows`"
    assert file.stat().st_size < 60_000


def test_graphs_are_small_and_need_no_other_pack(shipped):
    types = [node["type"] for node in shipped.ui["nodes"]]
    ours = [type_ for type_ in types if type_.startswith("LTX2_")]
    assert set(types) - set(ours) <= CORE
    assert 9 <= len(ours) <= 19


def test_the_file_is_what_the_tool_draws(shipped, tool, object_info):
    sheet = tool("sheet").Sheet(shipped.file.stem, object_info)
    tool("graphs").GRAPHS[shipped.file.stem](sheet)
    assert shipped.ui == sheet.workflow(), "run `python -m tools.workflows`"


def test_the_twin_is_what_the_command_line_derives(shipped, tmp_path):
    from comfyui_ltx2.cli import main

    assert main(["api", str(shipped.file), "-o", str(tmp_path / "twin.json")]) == 0
    assert shipped.twin.read_text() == (tmp_path / "twin.json").read_text(), "run `python -m tools.workflows`"


def test_links_agree_with_both_of_their_ends(shipped):
    ui = shipped.ui
    nodes = {node["id"]: node for node in ui["nodes"]}
    assert len(nodes) == len(ui["nodes"])
    assert ui["last_node_id"] == max(nodes)
    assert ui["last_link_id"] == max(link[0] for link in ui["links"]) == len(ui["links"])
    for id_, source, out, target, into, type_ in ui["links"]:
        assert id_ in nodes[source]["outputs"][out]["links"]
        assert nodes[source]["outputs"][out]["type"] == type_
        assert nodes[target]["inputs"][into]["link"] == id_
    listed = [each["link"] for node in ui["nodes"] for each in node["inputs"]]
    assert sorted(listed) == [link[0] for link in ui["links"]], "only linked inputs are listed"


def test_the_canvas_has_a_size_that_every_stage_can_take(shipped):
    """32 pixels a latent: twice as many where stage 1 is at half size, and where a reference is at half of that."""
    types = {node["class_type"] for node in shipped.api.values()}
    if "LTX2_Canvas" not in types:
        return
    canvas = shipped.only("LTX2_Canvas")
    step = 32 * (2 if "LTX2_UpsampleLatent" in types else 1) * (2 if "ref0.5" in json.dumps(shipped.api) else 1)
    assert (canvas["width"] % step, canvas["height"] % step, canvas["frames"] % 8) == (0, 0, 1)


def test_a_round_of_a_long_clip_overlaps_by_what_it_saw():
    graph = json.loads((ROOT / "workflows" / "api" / "LTX-2 Long Clip.json").read_text())
    inputs = {node["_meta"]["title"]: node["inputs"] for node in graph.values()}
    for number in (1, 2):
        assert inputs[f"Join {number}"]["overlap"] == -inputs[f"Context {number}"]["start"] > 0


def test_nothing_overlaps_and_groups_hold_their_nodes(shipped):
    ui = shipped.ui
    for one, other in combinations(ui["nodes"], 2):
        assert apart(box(one), box(other), gap=30), f"{one['title']} and {other['title']}"
    for one, other in combinations(frames(ui), 2):
        assert apart(one, other, gap=20)
    for node in ui["nodes"]:
        assert sum(inside(box(node), frame) for frame in frames(ui)) == 1, node["title"]


def test_stages_stand_from_left_to_right(shipped):
    groups = shipped.ui["groups"]
    assert [group["title"].split()[0] for group in groups] == [str(index + 1) for index in range(len(groups))]
    assert [group["bounding"][0] for group in groups] == sorted(group["bounding"][0] for group in groups)
    lefts = {node["id"]: node["pos"][0] for node in shipped.ui["nodes"]}
    assert all(lefts[source] <= lefts[target] for _, source, _, target, *_ in shipped.ui["links"])


def test_titles_are_unique_so_that_the_command_line_can_name_nodes(shipped):
    titles = [node["_meta"]["title"] for node in shipped.api.values()]
    assert len(set(titles)) == len(titles)


def test_nodes_say_which_pack_they_come_from_and_seeds_stay(shipped):
    for node in shipped.ui["nodes"]:
        if node["type"].startswith("LTX2_"):
            assert node["properties"]["cnr_id"] == "comfyui-ltx2"
        if node["type"] == "LTX2_Sample":
            assert "fixed" in node["widgets_values"]


def test_loaders_offer_the_download_of_exactly_the_files_they_name(shipped):
    offered = {}
    for node in shipped.ui["nodes"]:
        for model in node["properties"].get("models", []):
            assert model["name"] in node["widgets_values"], "ComfyUI takes a model for missing by its widget's value"
            assert (model["directory"], model["url"]) == (RELEASED[model["name"]][0], url(model["name"]))
            offered[model["name"]] = node["id"]
    values = [value for node in shipped.api.values() for value in node["inputs"].values() if isinstance(value, str)]
    assert set(offered) == {value for value in values if value.endswith(".safetensors")}


def test_only_released_names_and_links_appear(shipped):
    text = json.dumps(shipped.ui)
    assert set(re.findall(r"https?://[^\s\"')\\]+", text)) <= {url(name) for name in RELEASED} | PAGES
    assert {Path(name).name for name in re.findall(r"[\w./:-]+\.(?:safetensors|gguf|ckpt)", text)} <= set(RELEASED)
    assert GEMMA in shipped.only("LTX2_LoadCheckpoint")["text_encoder"]


def test_the_note_lists_every_file_for_each_release_that_has_it(shipped):
    (note,) = (node for node in shipped.ui["nodes"] if node["type"] == "MarkdownNote")
    text = note["widgets_values"][0]
    used = {model["name"] for node in shipped.ui["nodes"] for model in node["properties"].get("models", [])}
    for name in used:
        assert f"[{name}]({url(name)})" in text
    releases = 2 if "Or for LTX-2.0" in text else 1
    assert len(re.findall(r"\.safetensors\]", text)) == releases * len(used)
    assert f"models/text_encoders/{GEMMA}" in text
