"""A real ComfyUI where a package cannot be imported: sentencepiece, the only one it starts without."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
BROKEN = "raise ImportError('libbroken.so.7: cannot open shared object file')"
CHECKPOINT, GEMMA, SINGLE = "ltx-2.3-22b-dev.safetensors", "gemma-3-12b-it-qat-q4_0-unquantized", "gemma.safetensors"


@pytest.fixture
def broken_server(start_server, models, tmp_path):
    """A server whose sentencepiece is broken, with a text encoder in a single file, which is what needs it."""
    (tmp_path / "sentencepiece").mkdir()
    (tmp_path / "sentencepiece" / "__init__.py").write_text(BROKEN)
    server = start_server(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    folder = models / "text_encoders" / GEMMA
    weights = {key: tensor for shard in folder.glob("*.safetensors") for key, tensor in load_file(shard).items()}
    weights["spiece_model"] = torch.zeros(16, dtype=torch.uint8)
    to = server.base / "models" / "text_encoders"
    to.mkdir(parents=True, exist_ok=True)
    config = (folder / "config.json").read_text(encoding="utf-8")
    save_file(weights, to / SINGLE, {"format": "pt", "gemma_config": config})
    return server


def prompt(text_encoder):
    return {
        "encoder": node("LTX2_LoadTextEncoder", text_encoder=text_encoder, checkpoint=CHECKPOINT),
        "prompt": node("LTX2_EncodePrompt", text_encoder=["encoder", 0], text="a boat", cache=False),
        "save": node("LTX2_SaveConditioning", conditioning=["prompt", 0], filename_prefix="broken/prompt"),
    }


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def test_every_node_is_there_and_the_one_that_needs_the_package_says_what_to_install(broken_server):
    listed = {name for name in broken_server.get("/object_info") if name.startswith("LTX2_")}
    assert listed == set(json.loads((ROOT / "tests" / "nodes" / "public_interface.json").read_text()))
    assert "IMPORT FAILED" not in broken_server.log()

    history = broken_server.finished(broken_server.queue(prompt(SINGLE)))
    error = dict(history["status"]["messages"])["execution_error"]
    assert error["node_id"] == "prompt"
    told = error["exception_message"]
    assert "the package sentencepiece must be there for text encoders in a single file" in told
    assert "libbroken.so.7" in told
    assert "pip install --force-reinstall sentencepiece" in told

    broken_server.run(prompt(GEMMA))  # a folder's tokenizer is another package's
    assert list((broken_server.output / "broken").glob("prompt_*"))
