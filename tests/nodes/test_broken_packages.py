"""One broken package takes along what needs it, in words; every node is still there, and the others run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOAD = """
import importlib, importlib.util, json, sys
from pathlib import Path
root, models, broken, tmp = sys.argv[1:]
sys.path.insert(0, broken)
name = "/somewhere/custom_nodes/comfyui-ltx2"
spec = importlib.util.spec_from_file_location(name, root + "/__init__.py", submodule_search_locations=[root])
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
pack = lambda module: importlib.import_module(f"{name}.{module}")
"""

RUN = (
    LOAD
    + """
session = pack("nodes.host.headless.session").session
with session(Path(models), Path(tmp), Path(tmp), device="cpu", temp=Path(tmp) / "temp") as executor:
    classes, host = executor.classes, pack("nodes.host").current()
    checkpoint, gemma = "ltx-2.3-22b-dev.safetensors", "gemma-3-12b-it-qat-q4_0-unquantized"
    def vae(kind):
        return classes["LTX2_Load" + kind].execute(file=checkpoint).args[0]
    (canvas,) = classes["LTX2_Canvas"].execute(width=64, height=64, frames=9, frame_rate=24.0).args
    def empty():
        return classes["LTX2_EmptyLatents"].execute(canvas=canvas, scale="1").args
    def sound():
        import torch
        return {"waveform": torch.zeros(1, 2, 16000), "sample_rate": 16000}
    tasks = {
        "latents": empty,
        "transformer": lambda: vae("Transformer"),
        "text encoder": lambda: classes["LTX2_LoadTextEncoder"].execute(text_encoder=gemma, checkpoint=checkpoint),
        "images": lambda: classes["LTX2_DecodeImages"].execute(**decode),
        "video": lambda: classes["LTX2_DecodeVideo"].execute(**decode, crf=18),
        "audio": lambda: classes["LTX2_EncodeAudio"].execute(
            audio_vae=vae("AudioVAE"), audio=sound(), start=0.0, canvas=canvas
        ),
        "a picture": lambda: classes["LoadImage"].execute(image="example.png"),
    }
    outcome = {}
    for task, function in tasks.items():
        try:
            if task in ("images", "video"):
                decode = dict(video=empty()[0], tiling="off", tile_size=768, tile_frames=80, video_vae=vae("VideoVAE"))
            function()
            outcome[task] = None
        except pack("ltx2.errors").LTX2Error as error:
            outcome[task] = str(error)
    print(json.dumps({"nodes": [name for name in classes if name.startswith("LTX2_")], "outcome": outcome}))
"""
)

#: {package: what stops without it}
NEEDED = {
    "av": {"video"},
    "einops": {"images", "video", "audio"},
    "gguf": set(),
    "PIL": {"a picture"},
    "safetensors": {"text encoder", "images", "video", "audio"},
    "sentencepiece": set(),
    "tokenizers": {"text encoder"},
    "transformers": {"text encoder", "audio"},
}


@pytest.mark.parametrize("package", NEEDED)
def test_only_what_needs_a_broken_package_stops(package, tiny_models, tmp_path):
    broken = tmp_path / "broken"
    (broken / package).mkdir(parents=True)
    (broken / package / "__init__.py").write_text("raise ImportError('libbroken.so.7: cannot open shared object file')")
    (tmp_path / "example.png").write_bytes((ROOT / "assets" / "icon.png").read_bytes())
    arguments = [str(ROOT), str(tiny_models("2.3")), str(broken), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert sorted(answer["nodes"]) == sorted(json.loads((ROOT / "tests/nodes/public_interface.json").read_text()))
    stopped = {task: text for task, text in answer["outcome"].items() if text}
    assert stopped.keys() == NEEDED[package], stopped
    for text in stopped.values():
        assert f"the package {package} must be there for" in text or "transformers must be there for" in text
        assert "libbroken.so.7" in text
        assert "pip install" in text
