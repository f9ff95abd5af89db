"""Thumbnails: small files, the same for the same graph, with every node in them."""

from __future__ import annotations

import io
from itertools import combinations

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def thumbnail(tool):
    return tool("thumbnail")


def test_a_thumbnail_is_a_small_jpeg_of_the_right_shape(shipped, thumbnail):
    picture = thumbnail.draw(shipped.ui, shipped.file.stem)
    file = thumbnail.jpeg(picture)
    assert len(file) < 60_000
    with Image.open(io.BytesIO(file)) as read:
        assert (read.format, read.size) == ("JPEG", (800, 450))
    assert file == thumbnail.jpeg(thumbnail.draw(shipped.ui, shipped.file.stem))


def test_every_node_has_a_place_of_its_own(shipped, thumbnail):
    nodes = [node for node in shipped.ui["nodes"] if node["type"] != "MarkdownNote"]
    frames, boxes = thumbnail._places(thumbnail._bands(shipped.ui["groups"], nodes))
    assert set(boxes) == {node["id"] for node in nodes}
    for one, other in combinations(boxes.values(), 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    for box in boxes.values():
        assert sum(f[0] < box[0] and box[2] < f[2] and f[1] < box[1] and box[3] < f[3] for f in frames) == 1
    assert all(f[0] >= 0 and f[2] <= 800 and f[3] <= 450 for f in frames)


def test_long_titles_fit(thumbnail):
    node = {"id": 1, "type": "LTX2_Sample", "title": "A node with quite a long title of many words", "pos": [20, 60]}
    graph = {"nodes": [node], "links": [], "groups": [{"bounding": [0, 0, 300, 300]}]}
    title = "LTX-2 A workflow with a title that is longer than the picture is wide at its usual size"
    picture = thumbnail.draw(graph, title)
    edges = [picture.getpixel((x, y)) for x in (0, 799) for y in range(450)]
    assert set(edges) == {thumbnail.BACKGROUND}
