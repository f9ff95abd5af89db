"""Measures on a GPU what needs one, in one run of at most eight minutes: no files, random weights of released sizes.

python benchmarks/gpu.py --peer diffusers     # first, if it is installed: what ours is compared with
python benchmarks/gpu.py                      # ours: a table, a profile, and results/gpu.jsonl
python benchmarks/gpu.py --only H1 H8         # some goals: a table, and lines where --output says

python benchmarks/gpu.py --tiny               # all of it at tiny size, in seconds, on a CPU
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from comfyui_ltx2.ltx2.errors import LTX2Error
from gpu_bench import Bench, Scale
from gpu_items import Items
from gpu_peer import PeerItems
from gpu_variants import UnavailableError
from report import HEAD, Row, line, record, settings, write

RESULTS = Path(__file__).with_name("results")
SECONDS = 480
FORWARDS = (("H1", 384, 256, 85.0), ("H2", 768, 512, 330.0), ("H3", 960, 544, 450.0), ("H4", 1920, 1088, 2800.0))
#: Ids, the seconds that an item should take on an H200, and what it yields.
Item = tuple[str, float, Callable[[], Iterator[Row]]]


def our_items(bench: Bench) -> list[Item]:
    """In an order that makes the transformer once."""
    items = Items(bench)
    return [
        ("H0", 10, items.ceilings),
        ("H10", 30, items.prompt),
        ("H10", 40, items.streamed_prompt),
        ("H8", 40, items.decoding),
        *((id, 20, partial(items.forward, id, *rest)) for id, *rest in FORWARDS),
        ("H5", 15, items.guided),
        ("H7", 15, items.guided_run),
        ("H6", 20, partial(items.distilled, 1536, 1024, 8.5)),
        ("H6", 25, partial(items.distilled, 1920, 1088, 12.0)),
        ("H13", 15, partial(items.whole, "bf16", "prompt", 45.0)),
        ("H2", 10, items.fused),
        ("H1", 10, items.recorded),
        ("H12", 20, items.fp8),
        ("H13", 15, partial(items.whole, "fp8", "prompt, layers from RAM", 25.0)),
        ("H11", 100, items.streamed),
        ("H13", 20, partial(items.whole, "from RAM", "prompt, layers from RAM", 8.0)),
        ("H1", 90, items.compiled),
    ]


def peer_items(bench: Bench) -> list[Item]:
    items = PeerItems(bench)
    return [
        *((id, 25, partial(items.forward, id, width, height)) for id, width, height, _ in FORWARDS),
        ("H5", 20, items.guided),
        ("H8", 60, items.decoding),
    ]


def measured(items: list[Item], seconds: float, where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record of each row, printed as it comes; what the time or the memory does not suffice for says so."""
    print(HEAD)
    end = time.monotonic() + seconds
    for id, needs, item in items:
        left = end - time.monotonic()
        if needs > left:
            yield _skipped(id, f"it needs about {needs:.0f} s, {max(left, 0):.0f} s are left", where)
            continue
        begin = time.monotonic()
        try:
            for row in item():
                print(line(row), flush=True)
                yield record(row, where)
        except (UnavailableError, LTX2Error) as error:
            yield _skipped(id, str(error), where)
        except torch.cuda.OutOfMemoryError as error:
            yield _skipped(id, f"out of memory: {str(error).partition('.')[0]}", where)
        print(f"{id:6} took {time.monotonic() - begin:.0f} s of about {needs:.0f}", flush=True)
        gc.collect()
        torch.cuda.empty_cache()


def _skipped(id: str, why: str, where: dict[str, Any]) -> dict[str, Any]:
    print(f"{id:6} skipped: {why}", flush=True)
    return {"id": id, "skipped": why, "goal": None, **where}


def peers_of(file: Path, device: str, scale: str) -> dict[tuple[str, str], float]:
    """What a peer took on the same device; nothing where it has not been measured there."""
    if not file.exists():
        return {}
    records = [json.loads(each) for each in file.read_text(encoding="utf-8").splitlines()]
    same = [each for each in records if (each["device"], each["scale"]) == (device, scale) and "ours" in each]
    return {(each["id"], each["what"]): each["ours"] for each in same}


def folder_of(output: Path | None, *, is_whole: bool) -> Path | None:
    """Where JSON lines go; None for nowhere: only a whole run takes the place of another one that nobody names."""
    return output or (RESULTS if is_whole else None)


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("diffusers",), help="measure it in place of ours")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and clips, on the CPU")
    parser.add_argument("--release", choices=("2.0", "2.3"), default="2.3", help="of the transformer")
    parser.add_argument("--only", nargs="+", metavar="ID", help="some goals, such as H1 H8")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the time that all items share")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the JSON lines; a whole run that is not tiny has results beside this script",
    )
    given = parser.parse_args(arguments)
    if not (given.tiny or torch.cuda.is_available()):
        parser.error("a CUDA device is needed; got none: use --tiny to try everything at tiny size")
    if given.tiny:
        torch.set_num_threads(1)  # two wait for each other where another process has one of the cores
    device = torch.device("cpu") if given.tiny else torch.device("cuda", torch.cuda.current_device())
    bench = Bench(device, Scale(given.tiny), given.release)
    folder = folder_of(given.output, is_whole=not (given.tiny or given.only))
    scale = "tiny" if given.tiny else "full"
    where = {**settings(bench.device_name(), str(bench.dtype).removeprefix("torch.")), "scale": scale}
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    if not given.peer:
        bench.peers = peers_of((given.output or RESULTS) / "gpu-diffusers.jsonl", where["device"], scale)
    items = peer_items(bench) if given.peer else our_items(bench)
    items = [item for item in items if given.only is None or item[0] in given.only]
    records: list[dict[str, Any]] = []
    try:
        for each in measured(items, given.seconds, where):
            records.append(each)
    finally:  # an error in one item takes nothing of the others
        if folder:
            notes = ({**note, "goal": None, **where} for note in bench.notes)
            write(folder / (f"gpu-{given.peer}.jsonl" if given.peer else "gpu.jsonl"), [*records, *notes])


if __name__ == "__main__":
    main()
