"""docs/automation.md: its Python, its commands and its recipes for comfy-cli run as they stand, on a real server.

comfy-cli is no part of the development environment: COMFY_CLI names the program, or `comfy` is on the path.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTILLED = "LTX-2 Text to Video Distilled"
GUIDE = (ROOT / "docs" / "automation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
(TABLE,) = [text for kind, text in BLOCKS if kind == "csv"]
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
COMFY = os.environ.get("COMFY_CLI") or shutil.which("comfy")
LTX2 = [sys.executable, "-m", "comfyui_ltx2"]


@pytest.fixture
def run(server, small_prompt, tmp_path):
    """`run(command)` runs an argument list where graph.json and rows.csv are, with the server's port for 8188."""
    prompt = small_prompt(DISTILLED, prefix="recipe")
    (tmp_path / "graph.json").write_text(json.dumps(prompt))
    (tmp_path / "rows.csv").write_text(TABLE)
    # comfy-cli keeps notes of its own in the home folder.
    environment = {**os.environ, "HOME": str(tmp_path), "NO_COLOR": "1", "DO_NOT_TRACK": "1"}

    def do(command):
        command = [each.replace("8188", str(server.port)) for each in command]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False, timeout=300
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr, server.log()[-2000:])
        return done.stdout

    return do


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split()[3])
def test_python(run, code, tmp_path):
    output = run([sys.executable, "-c", code])
    assert ".mp4" in output
    assert list((tmp_path / "clips").glob("recipe*.mp4"))


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("ltx2")])
def test_commands(run, line, tmp_path):
    output = run([*LTX2, *shlex.split(line)[1:]])
    assert output.splitlines()
    assert all((tmp_path / name).is_file() for name in output.splitlines())


def test_recipes_for_comfy_cli(run, server, tmp_path):
    if not COMFY:
        pytest.skip("comfy-cli is not here: name its program in COMFY_CLI, or have `comfy` on the path")
    before = len(list(server.output.glob("recipe*")))
    outputs = {}
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        if program == "comfy":
            outputs[line] = run([COMFY, "--skip-prompt", "--no-enable-telemetry", *arguments])
        elif program == "curl":
            (tmp_path / "object_info.json").write_text(json.dumps(server.get("/object_info")))
    runs = [line for line in outputs if line.startswith("comfy run")]
    assert len(outputs) > len(runs) > 0
    assert len(list(server.output.glob("recipe*"))) > before
    events = [json.loads(line) for line in outputs[runs[-1]].splitlines() if line.startswith("{")]
    assert events[-1]["type"] == "envelope"
    assert events[-1]["ok"] is True
    # What is wrong is found by the same recipe.
    prompt = json.loads((tmp_path / "graph.json").read_text())
    next(node for node in prompt.values() if node["class_type"] == "LTX2_Canvas")["class_type"] = "LTX2_Canvass"
    (tmp_path / "graph.json").write_text(json.dumps(prompt))
    with pytest.raises(AssertionError, match="suggestions.*LTX2_Canvas"):
        run([COMFY, "--skip-prompt", *shlex.split(COMMANDS[-1])[1:]])
