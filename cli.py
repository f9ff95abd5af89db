"""The command line, `ltx2`: run graphs, derive API files, look into checkpoints, write the tiny model set, the demo.

Everything heavy is imported by the command that needs it, so that `ltx2 --help` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .ltx2.errors import LTX2Error

if TYPE_CHECKING:
    from .client import Client
    from .nodes.host.graph.document import Graph
    from .nodes.host.headless.cancellation import Cancellation
    from .nodes.host.headless.executor import Executor

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 1 when a node or a file failed; 2 when what was asked is wrong; 130 after Ctrl-C.
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as error:  # argparse has printed what it has to say
        return int(error.code or OK)
    try:
        logging.basicConfig(format="%(levelname)s: %(message)s")
        logging.getLogger("ltx2").setLevel(logging.INFO if arguments.debug else logging.WARNING)
        return arguments.command(arguments) or OK
    except KeyboardInterrupt:
        print("ltx2: cancelled", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter must not complain about it when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the one place where errors become messages and exit codes
        if arguments.debug:
            traceback.print_exc()
        is_ours = isinstance(error, (LTX2Error, OSError))
        text = str(error) if is_ours else f"{type(error).__name__}: {error} (--debug shows where)"
        print(f"ltx2: {text}", file=sys.stderr)
        has_run = hasattr(error, "node_id")  # a NodeError; its module is too heavy to import for this
        return WRONG_USE if isinstance(error, LTX2Error) and not has_run else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ltx2", description="LTX-2 video with sound from the command line.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show log messages and tracebacks")
    host = argparse.ArgumentParser(add_help=False)
    text = "model folder in ComfyUI's layout (default: $LTX2_MODELS or ./models)"
    host.add_argument("--models", type=Path, default=default_models(), metavar="DIR", help=text)
    host.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")

    run = commands.add_parser("run", parents=[common, host], help="run a graph")
    run.add_argument("graph", metavar="GRAPH", help="UI or API JSON file, or the name of a shipped workflow")
    text = "set an input; NODE is an id or a title (repeatable)"
    run.add_argument("--set", action="append", default=[], dest="values", metavar="NODE.INPUT=VALUE", help=text)
    run.add_argument("--seed", type=int, help="set every seed of the graph")
    run.add_argument("--input", type=Path, default=Path("input"), metavar="DIR", help="where images are read")
    run.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="where files are saved")
    run.add_argument("-o", dest="file", type=Path, metavar="FILE", help="save the graph's one video as FILE instead")
    run.add_argument("--force", action="store_true", help="overwrite FILE")
    run.add_argument("--server", metavar="URL", help="run on this ComfyUI server, with its models and device")
    run.add_argument("--disable-metadata", action="store_true", help="write no workflow into saved files")
    run.set_defaults(command=_run)

    batch = commands.add_parser("batch", parents=[common, host], help="run a graph for each row of a table")
    batch.add_argument("graph", metavar="GRAPH", help="UI or API JSON file, or the name of a shipped workflow")
    text = 'CSV with columns "NODE.INPUT", or JSONL with an object {"NODE.INPUT": value} a line'
    batch.add_argument("rows", metavar="ROWS", type=Path, help=text)
    batch.add_argument("--input", type=Path, default=Path("input"), metavar="DIR", help="where images are read")
    text = "where files and manifest.jsonl are saved; what is done there is not done again (default: output)"
    batch.add_argument("-o", "--output", type=Path, default=Path("output"), metavar="FOLDER", help=text)
    batch.add_argument("--server", metavar="URL", help="run on this ComfyUI server, with its models and device")
    text = "how many rows the server has in its queue at a time (default: 1)"
    batch.add_argument("--in-flight", type=int, default=1, metavar="N", help=text)
    batch.set_defaults(command=_batch)

    api = commands.add_parser("api", parents=[common], help="derive the API form of a UI workflow")
    api.add_argument("graph", metavar="FILE", type=Path)
    api.add_argument("-o", dest="file", type=Path, metavar="OUT", help="(default: standard output)")
    api.add_argument("--force", action="store_true", help="overwrite OUT")
    api.set_defaults(command=_api)

    inspect = commands.add_parser("inspect", parents=[common], help="say what a model file is and what it lacks")
    inspect.add_argument("file", metavar="FILE", type=Path)
    inspect.set_defaults(command=_inspect)

    tiny = commands.add_parser("tiny", parents=[common], help="write a complete set of tiny models")
    tiny.add_argument("folder", metavar="DIR", type=Path)
    _add_release(tiny)
    tiny.set_defaults(command=_tiny)

    demo = commands.add_parser("demo", parents=[common], help="make a short video with tiny models")
    demo.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path(".demo"), help="(default: .demo)")
    demo.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    _add_release(demo)
    demo.set_defaults(command=_demo)
    return parser


def default_models() -> Path:
    return Path(os.environ.get("LTX2_MODELS") or "models")


def _add_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", choices=["2.0", "2.3"], default="2.3", help="(default: 2.3)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.server is not None:
        from .cli_server import run_on_server

        _save(arguments, lambda output: run_on_server(output, arguments))
        return
    from .nodes.host.headless.cancellation import Cancellation

    cancellation = Cancellation()
    with cancellation.on_sigint():
        _save(arguments, lambda output: _run_here(output, arguments, cancellation))


def _save(arguments: argparse.Namespace, run: Callable[[Path], list[Path]]) -> None:
    """Have `run` save files into the folder that it is given, and print their names."""
    if arguments.file is None:
        for file in run(arguments.output):
            print(file)
        return
    file = arguments.file
    _refuse_overwriting(file, arguments.force)
    if file.suffix.lower() != ".mp4":
        raise LTX2Error(f"a video is saved as .mp4; got '{file}'; choose a name that ends so")
    file.parent.mkdir(parents=True, exist_ok=True)
    # Saved beside its destination first, so that it gets there in one step or not at all.
    with tempfile.TemporaryDirectory(prefix=".ltx2-", dir=file.parent) as staging:
        saved = run(Path(staging))
        if len(saved) != 1:
            raise LTX2Error(f"-o takes a graph that saves one file; this one saved {len(saved)}; leave -o out")
        _refuse_overwriting(file, arguments.force)
        saved[0].replace(file)
    print(file)


def _run_here(output: Path, arguments: argparse.Namespace, cancellation: Cancellation) -> list[Path]:
    """Run the graph with `output` as the output folder; the files that it saved."""
    from .nodes.host.headless.folders import user_cache
    from .nodes.host.headless.session import run_graph, saved_files, session

    options = {
        "cache": user_cache(),
        "device": arguments.device,
        "metadata": not arguments.disable_metadata,
        "cancellation": cancellation,
    }
    with session(arguments.models, arguments.input, output, **options) as executor:
        graph = changed(read_named(arguments.graph, executor), arguments, executor)
        plan = executor.validate(graph.prompt)
        if arguments.file is not None:
            require_one_output(plan.outputs)
        return saved_files(run_graph(executor, graph), output)


def require_one_output(nodes: Sequence[str]) -> None:
    if len(nodes) != 1:
        raise LTX2Error(f"-o takes a graph with one output node; nodes {', '.join(nodes)} are; leave -o out")


def read_named(name: str, executor: Executor | Client) -> Graph:
    """The graph of a file, or of a shipped workflow's name."""
    from .nodes.host.graph.document import read_graph

    return read_graph(path_of(name), executor.infos())


def path_of(name: str) -> Path:
    """The file that GRAPH means on the command line."""
    from .nodes.host.graph.packaged import find_workflow

    looks_like_file = name.endswith(".json") or os.sep in name
    return Path(name) if looks_like_file or Path(name).is_file() else find_workflow(name)


def changed(graph: Graph, arguments: argparse.Namespace, executor: Executor | Client) -> Graph:
    """The graph with --seed and then each --set applied."""
    from .nodes.host.graph.document import Text

    if arguments.seed is not None:
        from .nodes.host.headless.session import with_seed

        graph = with_seed(graph, arguments.seed, executor)
    for assignment in arguments.values:
        target, equals, value = assignment.partition("=")
        node, dot, name = target.rpartition(".")
        if not equals or not dot:
            raise LTX2Error(
                f"--set takes NODE.INPUT=VALUE; got '{assignment}'; write for example --set Canvas.width=768"
            )
        graph = graph.with_value(node, name, Text(value), executor.infos())
    return graph


def _refuse_overwriting(file: Path, force: bool) -> None:
    if file.exists() and (not force or file.is_dir()):
        raise LTX2Error(
            f"{file} exists and is kept; choose another name" + ("" if file.is_dir() else " or give --force")
        )


def _batch(arguments: argparse.Namespace) -> int:
    from .cli_server import run_batch

    return FAILED if run_batch(arguments) else OK


def _api(arguments: argparse.Namespace) -> None:
    from .ltx2.media.partial_file import partial_file
    from .nodes.host.graph.document import api_text, read_graph
    from .nodes.host.headless.session import session

    with session() as executor:
        text = api_text(read_graph(arguments.graph, executor.infos()).prompt)
    if arguments.file is None:
        print(text, end="")
        return
    if arguments.file.is_file() and arguments.file.read_text(encoding="utf-8") == text:
        return
    _refuse_overwriting(arguments.file, arguments.force)
    with partial_file(arguments.file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _inspect(arguments: argparse.Namespace) -> None:
    from .ltx2.checkpoint.inspection import describe

    print(describe(arguments.file))


def _tiny(arguments: argparse.Namespace) -> None:
    from .ltx2 import tiny

    tiny.write(arguments.folder, release=arguments.release, seed=arguments.seed)
    print(arguments.folder)


def _demo(arguments: argparse.Namespace) -> None:
    from .cli_demo import make_demo

    print(make_demo(arguments.folder, release=arguments.release, seed=arguments.seed, device=arguments.device))
