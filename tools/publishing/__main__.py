"""Writes the list of nodes and the two images."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from comfyui_ltx2.nodes.host.headless.session import session

from . import images

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    with tempfile.TemporaryDirectory() as empty, session(*(Path(empty) / name for name in ("m", "i", "o"))) as executor:
        infos = {name: cls.GET_NODE_INFO_V1() for name, cls in executor.classes.items() if name.startswith("LTX2_")}
    names = {name: info["display_name"] for name, info in infos.items()}
    (ROOT / "node_list.json").write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")
    assets = ROOT / "assets"
    assets.mkdir(exist_ok=True)
    images.icon().save(assets / "icon.png", optimize=True)
    images.banner().save(assets / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
