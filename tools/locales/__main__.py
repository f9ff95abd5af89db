"""Writes the English texts of every node; names what the other languages lack and what they have too much."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from comfyui_ltx2.nodes.host.headless.session import session

from .texts import differences, node_texts

LOCALES = Path(__file__).resolve().parents[2] / "locales"


def main() -> int:
    with tempfile.TemporaryDirectory() as empty, session(*(Path(empty) / name for name in ("m", "i", "o"))) as executor:
        classes = sorted((name, cls) for name, cls in executor.classes.items() if name.startswith("LTX2_"))
        english = {name: node_texts(cls.GET_NODE_INFO_V1()) for name, cls in classes}
    written = json.dumps(english, indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(written, encoding="utf-8")
    wrong = []
    for file in sorted(LOCALES.glob("*/nodeDefs.json")):
        texts = json.loads(file.read_text(encoding="utf-8"))
        wrong += [f"{file.parent.name}: {line}" for line in differences(english, texts)]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
