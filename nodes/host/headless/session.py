"""Opens the headless host for a piece of work: chooses it as this process's host, then imports the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....ltx2.errors import LTX2Error
from .. import use
from ..graph.document import Graph
from .executor import Executor, Result
from .host import HeadlessHost


@contextmanager
def session(*folders: Path, **options: Any) -> Iterator[Executor]:
    """An executor of the pack's nodes; arguments are HeadlessHost's. The temp folder is removed at the end."""
    with HeadlessHost(*folders, **options) as host:
        use(host)
        # Only now: node modules ask for the host when they are imported.
        from ... import node_classes
        from .core_nodes import CORE_NODES

        yield Executor(host, [*node_classes(), *CORE_NODES])


def run_graph(executor: Executor, graph: Graph) -> Result:
    """Run a graph; what it saves carries the UI workflow with the same values, where there is one."""
    return executor.run(graph.prompt, None if graph.workflow is None else {"workflow": graph.workflow})


def saved_files(result: Result, output: Path) -> list[Path]:
    """The files in the output folder that the output nodes of a run told of."""
    entries = [entry for ui in result.ui.values() for key in ("images", "audio", "files") for entry in ui.get(key, ())]
    return [output / entry["subfolder"] / entry["filename"] for entry in entries if entry["type"] == "output"]


def with_seed(graph: Graph, seed: int, executor: Executor) -> Graph:
    """The graph with every seed set to `seed`.

    Raises:
        LTX2Error: no node has one.
    """
    infos = executor.infos()
    seeded = [
        (node_id, name)
        for node_id, node in graph.prompt.items()
        for name in ("seed", "noise_seed")
        if node.get("class_type") in infos and name in infos[node["class_type"]].inputs
    ]
    if not seeded:
        raise LTX2Error("a graph must have a seed to be given one; this one has none; leave --seed out")
    for node_id, name in seeded:
        graph = graph.with_value(node_id, name, seed, infos)
    return graph
