"""Ctrl-C at any moment: exit code 130, no traceback, no partial file."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As the installed command starts it, but from this tree, whatever is installed.
START = """
import importlib.util, sys
root = sys.argv[1]
spec = importlib.util.spec_from_file_location("pack", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from pack.cli import main
sys.exit(main(sys.argv[2:]))
"""
MOMENTS = 10


def start(models: Path, folder: Path):
    """`ltx2 run` of the distilled graph at a small size, into `folder`."""
    command = [sys.executable, "-c", START, str(ROOT), "run", "LTX-2 Text to Video Distilled", "--models", str(models)]
    values = {"width": 192, "height": 128, "frames": 17}
    options = [part for name, value in values.items() for part in ("--set", f"Canvas.{name}={value}")]
    command += [*options, "-o", str(folder / "clip.mp4")]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_sigint_at_ten_random_moments(tiny_models, tmp_path):
    models = tiny_models("2.3")
    began = time.monotonic()
    finished = start(models, tmp_path)
    _, log = finished.communicate(timeout=300)
    duration = time.monotonic() - began
    assert finished.returncode == 0, log
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    (tmp_path / "clip.mp4").unlink()

    chance = random.Random(7)
    codes = []
    for _ in range(MOMENTS):
        began, child = time.monotonic(), start(models, tmp_path)
        # Python itself takes a moment until it can answer anything.
        time.sleep(0.3 + chance.random() * 0.8 * (duration - 0.3))
        child.send_signal(signal.SIGINT)
        _, log = child.communicate(timeout=120)
        codes.append(child.returncode)
        if child.returncode == 0:  # it had finished by then: the machine has become faster
            duration = min(duration, time.monotonic() - began)
            (tmp_path / "clip.mp4").unlink()
        else:
            assert child.returncode == 130, log
            assert "Traceback" not in log, log
        assert list(tmp_path.iterdir()) == []
    assert codes.count(130) >= MOMENTS // 2
