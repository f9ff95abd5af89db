"""What a real ComfyUI hands out to the browser besides nodes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLUEPRINT = "LTX-2 Two-Stage Text to Video"


def test_the_blueprint_is_listed_and_given(server):
    listed = server.get("/global_subgraphs")
    (id,) = (id for id, each in listed.items() if each["name"] == BLUEPRINT)
    assert listed[id]["info"]["node_pack"] == "custom_nodes.comfyui-ltx2 1.0"
    assert server.get(f"/global_subgraphs/{id}")["data"] == (ROOT / "subgraphs" / f"{BLUEPRINT}.json").read_text()
