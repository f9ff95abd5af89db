"""Networks under ComfyUI's memory management on a device that is not the CPU: wholly there, partly, hardly at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


DISTILLED = "LTX-2 Text to Video Distilled"
# A device with a memory of `capacity` bytes in which only weights count.
DEVICE = """
import importlib.util, sys
from pathlib import Path
import comfy.model_management as management

spec = importlib.util.spec_from_file_location("second_device", {file!r})
sys.modules["second_device"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

class Patches:
    setattr = staticmethod(lambda owner, name, value, raising=True: setattr(owner, name, value))

module.SecondDevice(60 * 2**30).installed(Patches)

def free(device=None, torch_free_too=False):
    loaded = sum(each.model_loaded_memory() for each in management.current_loaded_models if each.model is not None)
    left = management.minimum_inference_memory() + max(int(Path({capacity!r}).read_text()) - loaded, 0)
    return (left, 0) if torch_free_too else left

management.get_torch_device = lambda: module.DEVICE
management.vae_device = lambda: module.DEVICE
management.get_torch_device_name = str
management.get_total_memory = lambda device=None, torch_total_too=False: (2**36, 2**36) if torch_total_too else 2**36
management.lowvram_available = True
management.vram_state = management.VRAMState.NORMAL_VRAM
management.get_free_memory = free
management.should_use_bf16 = lambda *_, **__: False
NODE_CLASS_MAPPINGS = {{}}
"""


@pytest.fixture(scope="module")
def gpu_server(start_server, tmp_path_factory):
    """A server whose device has as many bytes of memory as stand in its `capacity`."""
    folder = tmp_path_factory.mktemp("second device")
    capacity = folder / "capacity"
    capacity.write_text("0")
    pack = folder / "custom_nodes" / "second_device"
    pack.mkdir(parents=True)
    file = str(ROOT / "tests" / "second_device.py")
    (pack / "__init__.py").write_text(DEVICE.format(file=file, capacity=str(capacity)))
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
    assert ("loaded partially" in log) == (capacity < 10**9)
