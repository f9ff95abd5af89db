"""Transformers in files, and what streams their blocks."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import build, no_check
from ltx2.checkpoint.reader import Checkpoint
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.layers.modulation import Levels
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Transformer
from ltx2.placement import Placement
from ltx2.precision.cast import cast_at_use
from ltx2.runtime.offload.streaming import BLOCKS, Streaming


@pytest.fixture
def in_a_file(tmp_path):
    """`in_a_file(network, name)`: its weights are mapped from a file of that name, and cast at use."""

    def put(network, name):
        save_file(network.state_dict(), tmp_path / name)
        checkpoint = Checkpoint.open(tmp_path / name)
        for path, module in network.named_modules():
            for own in module._parameters:
                module._parameters[own] = nn.Parameter(checkpoint.read(f"{path}.{own}"), requires_grad=False)
        return cast_at_use(network)

    return put


@pytest.fixture
def streamed():
    """`streamed(network, mode, ...)` streams its blocks until the test ends."""
    made = []

    def stream(network, mode, *, slots=2, check=lambda: None, on_bytes=no_check, kind="transformer", **options):
        made.append(
            Streaming(
                network,
                BLOCKS[kind],
                Placement(mode, slots),
                torch.device("cpu"),
                name="x.safetensors",
                check=check,
                on_bytes=on_bytes,
                **options,
            )
        )
        return made[-1]

    yield stream
    for one in made:
        one.release()


@pytest.fixture
def in_file(tmp_path):
    """`in_file(case)` is (its transformer mapped from a file, the file)."""

    def make(case, transform=None):
        file = tmp_path / "x.safetensors"
        if not file.exists():
            save_file(case.weights, file)
        config = parse(TransformerConfig, case.config["transformer"], "transformer")
        return build(lambda: Transformer(config), TRANSFORMER, Checkpoint.open(file), transform), file

    return make


@pytest.fixture
def step():
    """`step(case, network)` is a step of four guided passes of two prompts: (video, audio)."""

    def inputs(case, network, name, sigma):
        found = {key.removeprefix(f"{name}_"): x for key, x in case.inputs.items() if key.startswith(name)}
        latent = found["latent"][:1]
        tables = network.rotary(getattr(network.config, name), found["positions"][:1])
        levels = Levels.of(torch.ones(latent.shape[:2])).scaled(sigma)
        return StreamInput(latent, torch.tensor([sigma]), levels, tuple(found["context"].split(1)), *tables)

    def run(case, network, passes):
        with torch.no_grad():
            return network(inputs(case, network, "video", 0.7), inputs(case, network, "audio", 0.4), passes)

    return run


@pytest.fixture
def leaves_nothing():
    """Within it no thread is left behind, and no file open."""

    @contextmanager
    def watch():
        threads, files = set(threading.enumerate()), open_files()
        yield
        assert set(threading.enumerate()) <= threads
        assert open_files() <= files

    return watch


def open_files():
    """The files that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # that of the listing itself
            continue
    return {path for path in found if path.startswith("/") and not path.startswith(("/proc", "/dev"))}
