"""From a file on disk to what a block computes, beside diffusers; and how far streamed blocks hide behind computing.

Each measurement of T6 is a process of its own. Files of 1.2 GB are written to a temp folder, and read from the system's
cache of files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path
from statistics import median
from typing import Any

import torch
from report import Row
from torch import Tensor, nn

# A third as deep and as wide as the released ones: 1.2 GB in bf16, which released files hold. Both compute in fp32,
# which is what diffusers loads into where it is told nothing.
SMALLER = {
    "num_layers": 15,
    "num_attention_heads": 10,
    "audio_num_attention_heads": 10,
    "cross_attention_dim": 1280,
    "audio_cross_attention_dim": 640,
}
CONTEXT_LENGTH = 32
ROUNDS = 5
NUM_BLOCKS, BLOCK_WIDTH, SLOTS = 24, 3536, 2  # 50 MB each, in fp32
FAKE_SECONDS = 0.02
STREAM_ROUNDS = 7
_PEER = "diffusers_transformer"
_OURS = "transformer.safetensors"


def rows() -> Iterator[Row]:
    """T6 beside diffusers, T7 alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _opening(folder)
    with tempfile.TemporaryDirectory() as name:
        yield from _streaming(Path(name) / "blocks.safetensors")


def _opening(folder: Path) -> Iterator[Row]:
    _in_a_process("write", folder)
    size = (folder / _OURS).stat().st_size
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for who, measured in found.items():
            measured.append(_in_a_process(who, folder))
    peer = f"from_pretrained {'with' if _has('accelerate') else 'without'} accelerate"
    what = f"{size / 1e9:.2f} GB file to a block's output; peer: {peer}"
    for key, name, unit in (("wall", "time", "s"), ("process", "CPU time", "s")):
        own, other = (min(one[key] for one in found[who]) for who in ("ours", "theirs"))
        yield Row("T6", f"{what}: {name}", unit, own, other, 0.3, "ratio")
    own, other = (median(one["anonymous"] for one in found[who]) / size for who in ("ours", "theirs"))
    yield Row("T6", "the same: anonymous memory then", "of file", own, other, 0.05, "ours")


def _in_a_process(task: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--task", task, "--folder", str(folder)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout or "{}")


def _has(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def write(folder: Path) -> None:
    """The same random transformer as a checkpoint of ours and as a folder of diffusers."""
    from comfyui_ltx2.ltx2.checkpoint.keys import TRANSFORMER
    from comfyui_ltx2.ltx2.tiny.archive import save
    from peers import ours, twin

    config = _config()
    shapes = {name: tensor.shape for name, tensor in ours(config).state_dict().items()}
    tensors = {TRANSFORMER.to_theirs(n): torch.rand(s).mul(0.02).bfloat16() for n, s in shapes.items()}
    save(folder / _OURS, tensors, {"config": json.dumps({"transformer": _raw()}), "model_version": "2.0.0"})
    del tensors
    other = twin(config).to(torch.bfloat16).to_empty(device="cpu")
    for parameter in other.parameters():
        parameter.data.uniform_(0, 0.02)
    other.save_pretrained(folder / _PEER)  # type: ignore[operator]


def _raw() -> dict[str, Any]:
    file = resources.files("comfyui_ltx2.ltx2.config") / "released" / "2.0.json"
    return {**json.loads(file.read_text("utf-8"))["transformer"], **SMALLER}


def _config() -> Any:
    from comfyui_ltx2.ltx2.config.section import parse
    from comfyui_ltx2.ltx2.config.transformer import TransformerConfig

    return parse(TransformerConfig, _raw(), "transformer")


class _Enough(Exception):
    """The first block has given its output."""


def measure(who: str, folder: Path) -> dict[str, float]:
    """Seconds from opening the file to the first block's output, and the anonymous bytes that there are then."""
    from comfyui_ltx2.ltx2.recipe import TransformerRecipe
    from diffusers import LTX2VideoTransformer3DModel
    from peers import Clip, our_inputs, ours, their_inputs

    clip = Clip(128, 128, 9)
    video, audio = our_inputs(ours(_config()), clip, device="cpu", dtype=torch.float32)
    video, audio = (replace(one, contexts=(one.contexts[0][:, :CONTEXT_LENGTH],)) for one in (video, audio))
    theirs = their_inputs(clip, video, audio)

    def open_ours() -> tuple[nn.Module, Callable[[nn.Module], Any]]:
        network = TransformerRecipe.open(folder / _OURS).build()
        return network.blocks[0], lambda _: network(video, audio)  # type: ignore[index]

    def open_theirs() -> tuple[nn.Module, Callable[[nn.Module], Any]]:
        network = LTX2VideoTransformer3DModel.from_pretrained(folder / _PEER)
        return network.transformer_blocks[0], lambda _: network(**theirs)

    anonymous, wall, process = anonymous_bytes(), time.perf_counter(), time.process_time()
    with torch.no_grad():
        block, run = {"ours": open_ours, "theirs": open_theirs}[who]()
        run_to_its_end(block, run)
    return {
        "wall": time.perf_counter() - wall,
        "process": time.process_time() - process,
        "anonymous": anonymous_bytes() - anonymous,
    }


def run_to_its_end(block: nn.Module, run: Callable[[nn.Module], Any]) -> None:
    """Run a network until all parts of its first block have given their output."""
    # Ours runs a block in three parts, of which the last is the exchange with the feed-forward network.
    from comfyui_ltx2.ltx2.networks.transformer.passes import EXCHANGE

    def stop(_module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        if not (inputs and isinstance(inputs[0], int)) or inputs[0] == EXCHANGE:
            raise _Enough

    handle = block.register_forward_hook(stop)
    try:
        run(block)
    except _Enough:
        return
    finally:
        handle.remove()
    raise AssertionError("the first block never ran")


def anonymous_bytes() -> int:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


class Block(nn.Module):
    """50 MB that wait for 20 ms, as if they computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(BLOCK_WIDTH, BLOCK_WIDTH), requires_grad=False)
        self.seconds = FAKE_SECONDS
        self.computed = 0.0

    def forward(self, x: Tensor) -> Tensor:
        start = time.perf_counter()
        time.sleep(self.seconds)
        x = x + self.weight[0] * self.weight[-1]
        self.computed = time.perf_counter() - start
        return x


class Chain(nn.Module):
    """Blocks one after the other; it notes how much memory there is at each."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(NUM_BLOCKS))
        self.most = 0

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
            self.most = max(self.most, anonymous_bytes())
        return x


def _streaming(file: Path) -> Iterator[Row]:
    chain = _mapped_chain(file)
    x = torch.zeros(BLOCK_WIDTH)
    expected = chain(x)
    streaming = _streamed(chain, file.name)
    chain(x)
    before, chain.most = anonymous_bytes(), 0
    found = chain(x)
    resident = (chain.most - before) / chain.blocks._modules["0"].weight.nbytes  # type: ignore[union-attr]
    # Of what could be hidden behind the other: reading, or computing where that is shorter.
    hidden = max(_hidden(chain, x) for _ in range(STREAM_ROUNDS))
    streaming.release()
    what = f"{NUM_BLOCKS} blocks of 50 MB from disk"
    yield Row("T7", f"{what}, {SLOTS} slots: blocks in memory at once", "blocks", resident, None, 3.0, "ours")
    yield Row("T7", f"{what}: values that differ", "values", float((found != expected).sum()), None, 0.0, "ours")
    yield Row("T7", f"{what}, 20 ms of computing each: not hidden", "share", 1 - hidden, None, 0.2, "ours")


def _mapped_chain(file: Path) -> Chain:
    from comfyui_ltx2.ltx2.checkpoint.load import assign, on_meta
    from comfyui_ltx2.ltx2.checkpoint.reader import Checkpoint
    from safetensors.torch import save_file

    chain = on_meta(Chain)
    save_file({name: torch.rand(tensor.shape) for name, tensor in chain.state_dict().items()}, file)
    checkpoint = Checkpoint.open(file)
    for name in checkpoint.shapes():
        assign(chain, name, checkpoint.read(name))
    return chain


def _streamed(chain: Chain, name: str) -> Any:
    from comfyui_ltx2.ltx2.checkpoint.load import no_check
    from comfyui_ltx2.ltx2.placement import DISK, Placement
    from comfyui_ltx2.ltx2.runtime.offload.streaming import Blocks, Streaming

    blocks, device = Blocks("blocks", "", ("forward",)), torch.device("cpu")
    return Streaming(chain, blocks, Placement(DISK, SLOTS), device, name=name, check=lambda: None, on_bytes=no_check)


def _hidden(chain: Chain, x: Tensor) -> float:
    (reading, _), (both, computing) = _seconds(chain, x, 0.0), _seconds(chain, x, FAKE_SECONDS)
    return 1 - (both - computing) / min(reading, computing)


def _seconds(chain: Chain, x: Tensor, fake: float) -> tuple[float, float]:
    """(all, within blocks)."""
    blocks = [block for block in chain.blocks._modules.values() if isinstance(block, Block)]
    for block in blocks:
        block.seconds = fake
    start = time.perf_counter()
    chain(x)
    return time.perf_counter() - start, sum(block.computed for block in blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("write", "ours", "theirs"), help="one part of the work, in this process")
    parser.add_argument("--folder", type=Path, help="where the files of that are")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.task == "write":
        write(given.folder)
    elif given.task:
        print(json.dumps(measure(given.task, given.folder)))
    else:
        from report import HEAD, line

        print(HEAD)
        for row in rows():
            print(line(row))


if __name__ == "__main__":
    main()
