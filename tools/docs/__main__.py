"""Writes the tables into every help page; names nodes without a page and pages without a node."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from comfyui_ltx2.nodes.host.headless.session import session

from .tables import with_tables

PAGES = Path(__file__).resolve().parents[2] / "web" / "docs"


def main() -> int:
    with tempfile.TemporaryDirectory() as empty, session(*(Path(empty) / name for name in ("m", "i", "o"))) as executor:
        infos = {name: cls.GET_NODE_INFO_V1() for name, cls in executor.classes.items() if name.startswith("LTX2_")}
    pages = {file.stem: file for file in PAGES.glob("*.md")}
    for name in sorted(infos.keys() & pages.keys()):
        page = pages[name].read_text(encoding="utf-8")
        pages[name].write_text(with_tables(page, infos[name]), encoding="utf-8")
    for name in sorted(infos.keys() ^ pages.keys()):
        print(f"{name}: {'no page: write web/docs/' + name + '.md' if name in infos else 'a page without a node'}")
    return 1 if infos.keys() ^ pages.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
