"""From the click to the first step in a real ComfyUI: LTX-2 Sample against ComfyUI's own LTX-2 model and sampler.

    COMFYUI_DIR=/path/to/ComfyUI [COMFYUI_PYTHON=/path/to/its/python] python benchmarks/click_to_first_step.py

Both sample the same tiny checkpoint from one latent, over the same sigmas, with prompts of LTX-2 Encode Prompt: the
text encoder of ComfyUI has the sizes of Gemma 3 12B written in, so it reads no tiny one.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from comfyui_ltx2.ltx2 import tiny
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[1]
COMFYUI = os.environ.get("COMFYUI_DIR", "")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
# Bytecode is kept, as it is where people run ComfyUI.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
STARTS, TURNS, STEPS = 5, 9, 16
CANVAS = {"width": 256, "height": 256, "frames": 25, "frame_rate": 24.0}
CHECKPOINT, GEMMA = "ltx-2-19b-dev.safetensors", "gemma-3-12b-it-qat-q4_0-unquantized"
Graph = dict[str, dict[str, Any]]

# What ComfyUI does at its start, with clocks around it: nodes of its own, and what they import, are there by then.
# Which pack's import a full garbage collection falls into is chance; it looks at all that ComfyUI has loaded.
IMPORT = """
import asyncio, gc, sys, time
root = sys.argv[1]
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, ".")
import comfy.options
comfy.options.enable_args_parsing()
import nodes
assert asyncio.run(nodes.load_custom_node("comfy_extras/nodes_lt.py", module_parent="comfy_extras"))
clock = time.perf_counter
collections = []
gc.callbacks.append(lambda phase, _info: collections.append(clock() if phase == "stop" else -clock()))
wall, processor = clock(), time.process_time()
assert asyncio.run(nodes.load_custom_node(root))
print(clock() - wall, time.process_time() - processor, sum(collections))
"""


def shared(text: str, steps: int) -> Graph:
    """The part of a graph that both ways of sampling have."""
    sigmas = ", ".join(f"{1 - step / steps:g}" for step in range(steps + 1))
    return {
        "encoder": _node("LTX2_LoadTextEncoder", text_encoder=GEMMA, checkpoint=CHECKPOINT),
        "prompt": _node("LTX2_EncodePrompt", text_encoder=["encoder", 0], text=text, cache=True),
        "canvas": _node("LTX2_Canvas", **CANVAS),
        "latents": _node("LTX2_EmptyLatents", canvas=["canvas", 0], scale="1"),
        "sigmas": _node("LTX2_ManualSchedule", text=sigmas),
    }


def ours(text: str, seed: int, steps: int) -> Graph:
    return {
        **shared(text, steps),
        "model": _node("LTX2_LoadTransformer", file=CHECKPOINT),
        "guider": _node("LTX2_Guider", transformer=["model", 0], positive=["prompt", 0], passes_per_forward=0),
        "sample": _node(
            "LTX2_Sample",
            guider=["guider", 0],
            sigmas=["sigmas", 0],
            video=["latents", 0],
            audio=["latents", 1],
            solver="euler",
            seed=seed,
        ),
        "save": _node("LTX2_SaveLatents", video=["sample", 0], audio=["sample", 1], filename_prefix="ours"),
    }


def theirs(text: str, seed: int, steps: int) -> Graph:
    both = {"positive": ["conditioning", 0], "negative": ["conditioning", 0]}
    return {
        **shared(text, steps),
        "model": _node("UNETLoader", unet_name=CHECKPOINT, weight_dtype="default"),
        "conditioning": _node("LTX2_ConditioningToComfyUI", conditioning=["prompt", 0], frame_rate=24.0),
        "guider": _node("CFGGuider", model=["model", 0], cfg=1.0, **both),
        "latent": _node("LTX2_LatentsToComfyUI", video=["latents", 0], audio=["latents", 1]),
        "noise": _node("RandomNoise", noise_seed=seed),
        "solver": _node("KSamplerSelect", sampler_name="euler"),
        "sample": _node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["solver", 0],
            sigmas=["sigmas", 0],
            latent_image=["latent", 0],
        ),
        "streams": _node("LTX2_LatentsFromComfyUI", latent=["sample", 0], frame_rate=0.0),
        "save": _node("LTX2_SaveLatents", video=["streams", 0], audio=["streams", 1], filename_prefix="theirs"),
    }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


SIDES = {"ours": ours, "theirs": theirs}


@dataclass(frozen=True)
class Server:
    """A running ComfyUI, and what it printed of the pack's import."""

    address: str
    imported: str

    def machine(self) -> str:
        """One line about where the numbers come from."""
        system = json.loads(_open(f"http://{self.address}/system_stats"))["system"]
        return f"ComfyUI {system['comfyui_version']}, torch {system['pytorch_version']}, {platform.machine()}"

    def seconds(self, graph: Graph) -> float:
        """From sending the graph to the last step of its sampler."""
        with connect(f"ws://{self.address}/ws?clientId=bench", max_size=None, proxy=None) as line:
            begin, done = time.perf_counter(), None
            body = json.dumps({"prompt": graph, "client_id": "bench"}).encode()
            sent = json.loads(_open(f"http://{self.address}/prompt", body))["prompt_id"]
            for message in line:
                kind, data = _parsed(message)
                if kind == "progress" and data["node"] == "sample" and data["value"] == data["max"]:
                    done = time.perf_counter() - begin
                elif kind == "execution_success" and data["prompt_id"] == sent and done is not None:
                    return done
                elif kind in ("execution_error", "execution_interrupted"):
                    raise SystemExit(f"the graph must run; got {data.get('exception_message', kind)}")
        raise SystemExit("the server must stay; it has closed the line")


def _parsed(message: str | bytes) -> tuple[str, dict[str, Any]]:
    """A message's kind and data; pictures have none."""
    if isinstance(message, bytes):
        return "", {}
    document = json.loads(message)
    return document["type"], document["data"]


def _open(url: str, body: bytes | None = None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is on this machine
    with opener.open(urllib.request.Request(url, body), timeout=60) as answer:
        return answer.read()


@contextmanager
def started(models: Path) -> Iterator[Server]:
    """A server that has the tiny models and has computed nothing."""
    with TemporaryDirectory() as folder, socket.socket() as probe:
        base = Path(folder)
        for name in ("custom_nodes", "user", "input", "output", "temp"):
            (base / name).mkdir()
        (base / "custom_nodes" / "comfyui-ltx2").symlink_to(ROOT, target_is_directory=True)
        kinds = {kind.name: kind for kind in models.iterdir()}
        kinds["diffusion_models"] = kinds["checkpoints"]  # which hold the transformers that UNETLoader lists
        lines = "\n".join(f"    {name}: {kind}" for name, kind in kinds.items())
        (base / "paths.yaml").write_text(f"tiny:\n{lines}\n")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        arguments = ["--cpu", "--listen", "127.0.0.1", "--port", str(port), "--disable-api-nodes"]
        arguments += ["--base-directory", str(base), "--extra-model-paths-config", str(base / "paths.yaml")]
        # On a CPU ComfyUI has a slower attention of its own; on NVIDIA GPUs it uses torch's, as the pack does anywhere.
        arguments += ["--use-pytorch-cross-attention", "--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"]
        with (base / "log.txt").open("wb") as log:
            command = [PYTHON, "-u", "main.py", *arguments]
            process = subprocess.Popen(command, cwd=COMFYUI, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, f"http://127.0.0.1:{port}/system_stats", base / "log.txt")
            found = re.search(r"([\d.]+) seconds: \S*comfyui-ltx2\b", (base / "log.txt").read_text(errors="replace"))
            yield Server(f"127.0.0.1:{port}", found[1] if found else "not at all")
        finally:
            process.terminate()
            process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            _open(url)
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"ComfyUI must start within two minutes; it printed\n{log.read_text(errors='replace')}")


def imports() -> None:
    """The pack's import as ComfyUI does it, in processes of their own."""
    command = [PYTHON, "-c", IMPORT, str(ROOT)]
    clocks = []
    for _ in range(STARTS):
        done = subprocess.run(command, cwd=COMFYUI, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE)
        clocks.append([float(value) for value in done.stdout.split()[-3:]])
    names = ("wall time", "processor time", "of it garbage collection")
    for name, seconds in zip(names, zip(*clocks, strict=True), strict=True):
        print(f"import, {name:24} {median(seconds):.3f} s  [{min(seconds):.3f} {max(seconds):.3f}]")


def row(name: str, taken: dict[str, list[float]]) -> None:
    """One line: medians, the ratio of ours to theirs, and the range of the ratio over the turns."""
    mine, other = (median(taken[side]) for side in SIDES)
    ratios = [a / b for a, b in zip(*(taken[side] for side in SIDES), strict=True)]
    spread = f"[{min(ratios):.2f} {max(ratios):.2f}]"
    print(f"{name:32} {mine:8.3f} {other:8.3f} {mine / other:6.2f}  {spread}")


def compare(models: Path) -> None:
    first: dict[str, list[float]] = {side: [] for side in SIDES}
    printed: list[str] = []
    for _ in range(STARTS):
        for side, graph in SIDES.items():
            with started(models) as server:
                first[side].append(server.seconds(graph("a boat", 0, 1)))
                printed.append(server.imported)
    print(f"import, as ComfyUI prints it at each start: {' '.join(printed)} s")
    text, seed, long = ({side: [] for side in SIDES} for _ in range(3))
    with started(models) as server:
        print(f"{server.machine()}\n{'seconds':32} {'ours':>8} {'theirs':>8}  ratio")
        for graph in SIDES.values():
            server.seconds(graph("a boat", 0, 1))
        for turn in range(1, TURNS + 1):
            for side, graph in SIDES.items():
                text[side].append(server.seconds(graph(f"a boat, {side} {turn}", 0, 1)))
                seed[side].append(server.seconds(graph("a boat", turn, 1)))
                long[side].append(server.seconds(graph("a boat", turn, 1 + STEPS)))
    row("click to first step, after start", first)
    row("click to first step, another text", text)
    row("click to first step, another seed", seed)
    row("each step after it", {s: [(a - b) / STEPS for a, b in zip(long[s], seed[s], strict=True)] for s in SIDES})


def main() -> None:
    if not COMFYUI:
        raise SystemExit("COMFYUI_DIR must name a ComfyUI checkout")
    size = "{width}x{height}x{frames}".format(**CANVAS)
    print(
        f"tiny LTX-2 at {size} with sound, on the CPU with one thread; the first step of a click is its whole run of\n"
        f"one step; medians of {STARTS} starts and {TURNS} turns; load average {os.getloadavg()[0]:.1f} at the start"
    )
    imports()
    with TemporaryDirectory() as folder:
        tiny.write(Path(folder), release="2.0", seed=0)
        compare(Path(folder))


if __name__ == "__main__":
    main()
