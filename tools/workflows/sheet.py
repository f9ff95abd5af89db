"""A workflow being drawn: nodes and links first, then their places, then ComfyUI's UI format (version 0.4).

Places follow from the order that a graph gives: groups from left to right, columns in a group from left to right, nodes
in a column from top to bottom. Gaps are wide enough for both of ComfyUI's renderers: the newer one draws nodes taller.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TITLE = 30  # of a node; drawn above its position
ROW, WIDGET, PADDING = 20, 24, 10
GAP = 50  # between nodes and between columns
BORDER = 20  # inside a group
FOOT = 60
ADVANCED = 30
TOP = 60  # of a group's title and what is free below it
BAND_GAP = 30
NOTE_LETTER, NOTE_ROW, NOTE_PARAGRAPH = 5.5, 17, 8  # the newer renderer shows all of a note, whatever its height
NOTE_SPACE = 80  # below a note: some of the newer renderer's releases put more between its paragraphs
NAMESPACE = uuid.UUID("5b1c4a0e-6a52-4a7e-9d4b-2f1f4b6f2a10")
VIEW = 0.65  # how large it opens; the classic renderer leaves texts out below 0.6
# Heights of the panels that web/js puts on nodes; of that on a node that has run, and of its preview.
PANELS = {"LTX2_Canvas": 168, "LTX2_ApplyGuides": 152}
PREVIEW = 210
SHOWN_AFTER = {"LTX2_Sample": 166 + PREVIEW}
STATUS = 66  # a line of text on a node that loads for long
LOADING = {
    *("LTX2_EncodePrompt", "LTX2_NegativePrompt", "LTX2_EnhancePrompt", "LTX2_EncodeVideo", "LTX2_EncodeAudio"),
    *("LTX2_ApplyGuides", "LTX2_VideoReference", "LTX2_AudioReference", "LTX2_Sample", "LTX2_UpsampleLatent"),
    *("LTX2_DecodeVideo", "LTX2_DecodeAudio"),
}
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


@dataclass(frozen=True)
class Output:
    """One output of a node, ready to be linked."""

    node: Node
    slot: int
    type: str


@dataclass(eq=False)
class Node:
    """A node on the sheet. `space` is kept free below it, for what it shows once it has run."""

    id: int
    info: Mapping[str, Any]
    title: str
    links: dict[str, Output]
    values: dict[str, Any]
    models: Sequence[Mapping[str, str]] = ()
    width: int = 270
    extra_height: int = 0
    space: int = 0
    position: tuple[int, int] = (0, 0)

    def __getitem__(self, name: str) -> Output:
        slot = self.info["output_name"].index(name)
        return Output(self, slot, self.info["output"][slot])

    @property
    def inputs(self) -> dict[str, list]:
        """Type and options of each input by name, in the order of the frontend: required ones first."""
        sides = self.info["input"]
        return {**sides.get("required", {}), **sides.get("optional", {})}

    @property
    def widgets(self) -> dict[str, Mapping[str, Any]]:
        """Options of the inputs that are widgets."""
        return {
            name: options
            for name, (type_, *rest) in self.inputs.items()
            for options in [rest[0] if rest else {}]
            if options.get("widgetType", type_) in WIDGET_TYPES
        }

    @property
    def widgets_values(self) -> list[Any]:
        values: list[Any] = []
        for name, options in self.widgets.items():
            values.append(self.values.get(name, options.get("default")))
            values += ["fixed"] if options.get("control_after_generate") else []
            values += ["image"] if options.get("image_upload") else []
        return values

    @property
    def height(self) -> int:
        sockets = max(len(self.inputs) - len(self.widgets), len(self.info["output"]))
        return PADDING + sockets * ROW + len(self.widgets_values) * WIDGET + self.extra_height

    @property
    def room(self) -> int:
        """Height that is kept free for the node: with its title, and with what comes below it."""
        # The newer renderer hides advanced widgets, and puts a row below the node that shows them.
        footer = ADVANCED if any(options.get("advanced") for options in self.widgets.values()) else 0
        return TITLE + self.height + self.space + footer


@dataclass(eq=False)
class Sheet:
    """A workflow in the making.

    Args:
        name: the file's name without its suffix, which is what people see.
        object_info: what a ComfyUI server says of its nodes, by id.
    """

    name: str
    object_info: Mapping[str, Mapping[str, Any]]
    nodes: list[Node] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    note: dict[str, Any] = field(default_factory=dict)

    def node(
        self,
        type_: str,
        title: str,
        links: Mapping[str, Output] | None = None,
        values: Mapping[str, Any] | None = None,
        **look: Any,
    ) -> Node:
        """Add a node. `values` are the widgets that differ from their defaults, `look` is the rest of Node."""
        look = {"extra_height": PANELS.get(type_, 0), "space": _space(type_), **look}
        node = Node(len(self.nodes) + 1, self.object_info[type_], title, dict(links or {}), dict(values or {}), **look)
        unknown = (set(node.links) | set(node.values)) - set(node.inputs)
        if unknown:
            raise ValueError(f"{type_} has no inputs {sorted(unknown)}; it has {list(node.inputs)}")
        self.nodes.append(node)
        return node

    def lay_out(self, bands: Sequence[tuple[str, Sequence[Sequence[Node]]]], note: str) -> None:
        """Place everything: a group for each band of columns, and the note below the nodes of the first band."""
        left = 0
        for index, (title, columns) in enumerate(bands):
            right = left + BORDER
            for column in columns:
                right += _stack(column, right) + GAP
            right += BORDER - GAP
            bottom = TOP + max(_height(column) for column in columns)
            if index == 0:
                bottom += GAP + TITLE
                width = right - left - 2 * BORDER
                size = [width, _note_height(note, width)]
                self.note = {"pos": [BORDER, bottom], "size": size, "text": note}
                bottom += size[1] + NOTE_SPACE
            bounding = [left, 0, right - left, bottom + FOOT]
            shown = {"color": "#3f789e", "font_size": 24, "flags": {}}
            self.groups.append({"id": index + 1, "title": title, "bounding": bounding, **shown})
            left = right + BAND_GAP

    def workflow(self) -> dict[str, Any]:
        """The UI workflow."""
        ids = {(node.id, name): index for index, (node, name) in enumerate(self._linked(), 1)}
        links = [
            [ids[node.id, name], source.node.id, source.slot, node.id, list(node.links).index(name), source.type]
            for node, name in self._linked()
            for source in [node.links[name]]
        ]
        nodes = [node_document(node, ids, links) for node in self.nodes]
        note = self._note(len(nodes) + 1)
        return {
            "id": str(uuid.uuid5(NAMESPACE, self.name)),
            "revision": 0,
            "last_node_id": note["id"],
            "last_link_id": len(links),
            "nodes": [*nodes, note],
            "links": links,
            "groups": self.groups,
            "config": {},
            "extra": {"ds": {"scale": VIEW, "offset": [60, 120]}},
            "version": 0.4,
        }

    def _linked(self) -> list[tuple[Node, str]]:
        return [(node, name) for node in self.nodes for name in node.links]

    def _note(self, id_: int) -> dict[str, Any]:
        return {
            "id": id_,
            "type": "MarkdownNote",
            "pos": self.note["pos"],
            "size": self.note["size"],
            "flags": {},
            "order": id_ - 1,
            "mode": 0,
            "title": "Note: Models",
            "inputs": [],
            "outputs": [],
            "properties": {},
            "widgets_values": [self.note["text"]],
            "color": "#432",
            "bgcolor": "#653",
        }


def node_document(node: Node, ids: Mapping[tuple[int, str], int], links: Sequence[Sequence]) -> dict[str, Any]:
    """A node in the UI format.

    Args:
        ids: {(id of a node, name of its input): id of the link into it}.
        links: the graph's links, each [id, from node, from slot, to node, to slot, type].
    """
    id_ = node.info["name"]
    properties = {"Node name for S&R": id_, "cnr_id": "comfyui-ltx2" if id_.startswith("LTX2_") else "comfy-core"}
    if node.models:
        properties["models"] = list(node.models)
    outputs = [
        {"name": name, "type": type_, "links": [x[0] for x in links if x[1:3] == [node.id, slot]] or None}
        for slot, (name, type_) in enumerate(zip(node.info["output_name"], node.info["output"], strict=True))
    ]
    return {
        "id": node.id,
        "type": id_,
        "pos": list(node.position),
        "size": [node.width, node.height],
        "flags": {},
        "order": node.id - 1,
        "mode": 0,
        "title": node.title,
        "inputs": [
            {"name": name, "type": source.type, "link": ids[node.id, name]} for name, source in node.links.items()
        ],
        "outputs": outputs,
        "properties": properties,
        "widgets_values": node.widgets_values,
    }


def _space(type_: str) -> int:
    """Height that a node takes below its own, at most, once it has run."""
    return SHOWN_AFTER.get(type_, 0) + (STATUS if type_ in LOADING else 0)


def _height(column: Sequence[Node]) -> int:
    return sum(node.room for node in column) + GAP * (len(column) - 1)


def _stack(column: Sequence[Node], left: int) -> int:
    """Place the nodes of a column, all as wide as the widest of them, which is returned."""
    top, width = TOP, max(node.width for node in column)
    for node in column:
        node.position, node.width = (left, top + TITLE), width
        top += node.room + GAP
    return width


def _note_height(text: str, width: int) -> int:
    """Of a Markdown text whose lines are paragraphs, drawn `width` pixels wide."""
    paragraphs = [line for line in re.sub(r"\]\([^)]*\)", "", text).splitlines() if line]
    rows = sum(math.ceil(len(line) * NOTE_LETTER / (width - 50)) for line in paragraphs)
    return rows * NOTE_ROW + len(paragraphs) * NOTE_PARAGRAPH + TITLE
