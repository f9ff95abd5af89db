"""Writes `web/estimates.json`."""

from __future__ import annotations

import json
from pathlib import Path

from comfyui_ltx2.nodes.host.headless.session import session

from .numbers import numbers

WEB = Path(__file__).resolve().parents[2] / "web"


def main() -> None:
    with session() as executor:
        written = numbers({name: cls.GET_NODE_INFO_V1() for name, cls in executor.classes.items()})
    (WEB / "estimates.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
