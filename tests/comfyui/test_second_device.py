"""Networks under ComfyUI's memory management on a device that is not the CPU: wholly there, partly, hardly at all."""

from __future__ import annotations

from functools import cache

import pytest

DISTILLED = "LTX-2 Text to Video Distilled"


@pytest.fixture(scope="module")
def gpu_server(start_server, second_device, tmp_path_factory):
    """A server whose device has as many bytes of memory as stand in its `capacity`."""
    folder = tmp_path_factory.mktemp("second device")
    capacity = folder / "capacity"
    capacity.write_text("0")
    pack = folder / "custom_nodes" / "second_device"
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text(second_device(capacity) + "NODE_CLASS_MAPPINGS = {}\n")
    paths = folder / "paths.yaml"
    paths.write_text(f"small:\n    base_path: {folder}\n    custom_nodes: custom_nodes\n")
    server = start_server("--extra-model-paths-config", str(paths))
    server.capacity = capacity
    return server


@pytest.fixture(scope="module")
def on_the_cpu(server, small_prompt):
    """`on_the_cpu(name)`: bytes of the file of that graph, made small; it is run once."""
    return cache(lambda name: server.run(small_prompt(name, prefix="expected")).files[0].read_bytes())


GRAPHS = [
    *((DISTILLED, capacity) for capacity in (0, 200_000, 1_500_000, 10**9)),
    ("LTX-2 Control Video", 1_500_000),
    ("LTX-2 LoRA Stack", 10**9),
]


@pytest.mark.parametrize(("name", "capacity"), GRAPHS)
def test_the_file_is_that_of_the_cpu(gpu_server, on_the_cpu, small_prompt, name, capacity):
    gpu_server.capacity.write_text(str(capacity))
    gpu_server.free()
    start = len(gpu_server.log())
    found = gpu_server.run(small_prompt(name, prefix="expected")).files[0].read_bytes()
    log = gpu_server.log()[start:]
    assert found == on_the_cpu(name)
    assert "Traceback" not in log
    # The text encoder is there for the first of these runs only: its contexts are kept on disk.
    for network in ("Transformer", "Upsampler", "VideoVAE", "AudioVAE", "ExtendedVocoder"):
        assert f"Requested to load {network}" in log or name != DISTILLED
    assert ("loaded partially" in log) == (capacity < 10**9)
    assert capacity > 0 or log.count("loaded partially") >= 5
