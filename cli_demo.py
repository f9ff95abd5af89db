"""`ltx2 demo`: the shipped two-stage graph on tiny models, from nothing to an mp4 with picture and sound."""

from __future__ import annotations

import difflib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.host.graph.document import Graph
    from .nodes.host.headless.executor import Executor

WORKFLOW = "text to video distilled"
CANVAS = {"width": 384, "height": 256, "frames": 25, "frame_rate": 24.0}


def make_demo(folder: Path, *, release: str, seed: int, device: str) -> Path:
    """Write `folder`/demo.mp4, and before it the tiny models of `release` where they are not there yet.

    Returns:
        The path of the mp4; one of an earlier demo is replaced.
    """
    from .nodes.host.graph.document import read_graph
    from .nodes.host.graph.packaged import find_workflow
    from .nodes.host.headless.cancellation import Cancellation
    from .nodes.host.headless.session import run_graph, saved_files, session, with_seed

    cancellation = Cancellation()
    with cancellation.on_sigint():
        models = _tiny_models(folder, release, seed)
        with tempfile.TemporaryDirectory(prefix=".ltx2-", dir=folder) as staging:
            options = {"device": device, "cancellation": cancellation}
            with session(models, folder, Path(staging), **options) as executor:
                graph = read_graph(find_workflow(WORKFLOW), executor.infos())
                graph = with_seed(_with_models(_with_canvas(graph, executor), executor), seed, executor)
                (saved,) = saved_files(run_graph(executor, graph), Path(staging))
                return saved.replace(folder / "demo.mp4")


def _tiny_models(folder: Path, release: str, seed: int) -> Path:
    """The tiny set, written under another name first: a folder that was half written is never taken for a whole one."""
    models = folder / f"models-{release}-{seed}"
    if not models.exists():
        from .ltx2 import tiny

        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".ltx2-", dir=folder))
        try:
            tiny.write(partial / models.name, release=release, seed=seed)
            (partial / models.name).replace(models)
        finally:
            shutil.rmtree(partial)
    return models


def _with_canvas(graph: Graph, executor: Executor) -> Graph:
    """The graph with a clip small enough for two CPU cores."""
    infos = executor.infos()
    for node_id, node in graph.prompt.items():
        if node["class_type"] == "LTX2_Canvas":
            for name, value in CANVAS.items():
                graph = graph.with_value(node_id, name, value, infos)
    return graph


def _with_models(graph: Graph, executor: Executor) -> Graph:
    """The graph with the model files of this release: for each that is missing the one whose name is nearest."""
    infos = executor.infos()
    for node_id, node in graph.prompt.items():
        for name, info in infos[node["class_type"]].inputs.items():
            options, value = info.config.get("options") or [], node["inputs"].get(name)
            if info.widget_type == "COMBO" and options and value not in options:
                near = difflib.get_close_matches(str(value), [str(option) for option in options], n=1, cutoff=0)
                graph = graph.with_value(node_id, name, near[0], infos)
    return graph
