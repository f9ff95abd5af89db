"""The languages reach the frontend through a real ComfyUI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

LOCALES = Path(__file__).resolve().parents[2] / "locales"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_server_hands_out_the_texts(server, language):
    given = server.get("/i18n")[language]
    texts = json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert {name: given["nodeDefs"][name] for name in texts} == texts
    main = json.loads((LOCALES / language / "main.json").read_text(encoding="utf-8"))
    assert given["nodeCategories"].items() >= main["nodeCategories"].items()
