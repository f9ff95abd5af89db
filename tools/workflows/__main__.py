"""Writes every shipped workflow with its API twin and its thumbnail into `workflows/`, blueprints into `subgraphs/`."""

from __future__ import annotations

import json
from pathlib import Path

from comfyui_ltx2.nodes.host.graph.document import api_text, read_graph
from comfyui_ltx2.nodes.host.headless.session import session

from . import thumbnail
from .blueprint import blueprint, text
from .graphs import BLUEPRINTS, GRAPHS
from .sheet import Sheet

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS, SUBGRAPHS = ROOT / "workflows", ROOT / "subgraphs"


def main() -> None:
    with session() as executor:
        object_info = {name: cls.GET_NODE_INFO_V1() for name, cls in executor.classes.items()}
        for name, draw in GRAPHS.items():
            sheet = Sheet(name, object_info)
            draw(sheet)
            file = WORKFLOWS / f"{name}.json"
            file.write_text(json.dumps(sheet.workflow(), indent=2) + "\n", encoding="utf-8")
            file.with_suffix(".jpg").write_bytes(thumbnail.jpeg(thumbnail.draw(sheet.workflow(), name)))
            twin = WORKFLOWS / "api" / file.name
            twin.parent.mkdir(exist_ok=True)
            twin.write_text(api_text(read_graph(file, executor.infos()).prompt), encoding="utf-8")
        for name, draw in BLUEPRINTS.items():
            sheet = Sheet(name, object_info)
            (SUBGRAPHS / f"{name}.json").write_text(text(blueprint(sheet, *draw(sheet))), encoding="ascii")


if __name__ == "__main__":
    main()
