"""Memory that runs out: an error that says what it took and what helps; nothing stays, and the next run works."""

from __future__ import annotations

import ast
import io
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TITLES = [
    "sample",
    "decode audio",
    "decode video",
    "decode images",
    "upsample",
    "encode prompt",
    "enhance prompt",
    "look at the image",
    "encode guides",
    "encode voices",
    "encode video",
    "encode audio",
]
IN_A_GRAPH = ["encode prompt", "sample", "upsample", "decode audio", "decode video"]
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to..."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    MemoryError("Unable to allocate 12.0 GiB for an array"),
]


def titles_in_the_nodes() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "nodes").glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Computation"]
    return {ast.literal_eval(call.args[0]) for call in made}


def test_every_computation_of_the_nodes_has_three_cures(pack):
    stages = pack("nodes.stages").STAGES
    assert titles_in_the_nodes() <= stages.keys()
    assert sorted(stages) == sorted(TITLES)
    for stage in stages.values():
        assert stage.part in ("transformer", "vae", "text")
        assert len(set(stage.cures)) == 3


@pytest.fixture
def recipe(pack):
    """The recipe of one linear layer, 16 bytes of weights."""
    new_lease = pack("ltx2.recipe").Lease

    @dataclass(frozen=True)
    class OneLayer:
        kind: ClassVar[str] = "tiny"
        lease: Any = field(default_factory=new_lease, compare=False)

        def without_lease(self):
            return replace(self, lease=None)

        def build(self, check):
            return torch.nn.Linear(2, 2, bias=False)

    yield OneLayer()
    pack("nodes.host.networks").CACHE.clear()


@pytest.mark.parametrize("title", TITLES)
def test_a_computation_says_what_it_took_and_what_helps(pack, host, recipe, error, title):
    unloaded, host.unload_all = [], lambda: unloaded.append(True)
    host.free_memory = lambda device: 3_210_000_000
    computation, stages = pack("nodes.computation").Computation, pack("nodes.stages").STAGES
    seen = []

    def fail(_module, inputs):
        largest = torch.ones(3)  # what a failing layer has in hand
        seen.extend(weakref.ref(tensor) for tensor in (largest, inputs[0]))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def compute(is_broken):
        with computation(title) as running:
            (network,) = running.borrow(recipe, activation_bytes=7_000_000_000)
            hook = network.register_forward_pre_hook(fail) if is_broken else None
            try:
                return network(torch.zeros(1, 2, device=running.device))
            finally:
                if hook:
                    hook.remove()

    with pytest.raises(error) as caught:
        compute(is_broken=True)
    said = str(caught.value)
    assert said.startswith(f"{title} must fit into the memory of cpu; it ran out (about 7.00 GB to compute in, ")
    assert "3.21 GB were free" in said
    assert all(cure in said for cure in stages[title].cures)
    assert unloaded == [True]
    assert seen[0]() is None, "the error keeps no tensor of the layers"
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert compute(is_broken=False).shape == (1, 2)


def test_memory_of_recordings_is_a_cure(pack, host, recipe, error):
    object.__setattr__(recipe, "is_recorded", True)

    def compute():
        with pack("nodes.computation").Computation(TITLES[0]) as running:
            running.borrow(recipe, activation_bytes=7)
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(error, match="it ran out .*; disable LTX-2 CUDA Graphs, or "):
        compute()


@pytest.mark.parametrize("cause", OUT_OF_MEMORY, ids=lambda cause: str(cause)[:20])
def test_every_way_of_saying_it_is_understood(pack, host, error, cause):
    with pytest.raises(error, match="decode video must fit into the memory of (cpu|this machine); it ran out; set"):
        with pack("nodes.computation").Computation("decode video"):
            raise cause


@pytest.mark.parametrize("other", [RuntimeError("mat1 and mat2"), KeyboardInterrupt("cancelled"), ValueError("no")])
def test_other_errors_stay_what_they_are(pack, host, other):
    with pytest.raises(type(other)) as caught:
        with pack("nodes.computation").Computation("decode video"):
            raise other
    assert caught.value is other


def test_all_networks_leave_the_device_and_a_half_never_stays(pack):
    """The meta device plays the part of a GPU."""
    memory = pack("nodes.host.headless.memory")
    left = [3]

    def check():
        left[0] -= 1
        if not left[0]:
            raise MemoryError("no room")

    networks = [torch.nn.Linear(2, 2) for _ in range(2)]
    device = memory.DeviceMemory(torch.device("meta"), check)
    first, second = (memory.HeldNetwork(device, network, 24) for network in networks)
    with pytest.raises(MemoryError):
        device.load([first, second], 0)
    assert first.missing_bytes == 0
    assert second.missing_bytes == 24
    assert device.loaded == [first]
    device.unload_all()
    assert device.loaded == []
    assert not any(tensor.is_meta for network in networks for tensor in network.parameters())
    device.load([first, second], 0)
    assert all(tensor.is_meta for network in networks for tensor in network.parameters())


@pytest.fixture
def breaking(host_of):
    """`breaking.title`: in this computation every layer fails; `breaking.in_hand`: what the layers had then."""

    class Breaking:
        title: str | None = None
        now: str | None = None
        in_hand: ClassVar[list[weakref.ref]] = []

        def __call__(self, module, inputs):
            if self.title and self.now == self.title and hasattr(module, "comfy_cast_weights"):
                tensor = inputs[0] * 1
                self.in_hand.append(weakref.ref(tensor))
                raise torch.OutOfMemoryError("CUDA out of memory.")

    state = Breaking()
    progress = host_of.progress

    def noted(title):
        state.now = title
        return progress(title)

    host_of.progress = noted
    handle = torch.nn.modules.module.register_module_forward_pre_hook(state)
    yield state
    handle.remove()


@pytest.fixture
def executor(pack, tiny_models, tmp_path):
    folders = [tmp_path / name for name in ("input", "output")]
    session = pack("nodes.host.headless.session").session
    with session(tiny_models("2.3"), *folders, device="cpu", temp=tmp_path / "temp", stream=io.StringIO()) as executor:
        yield executor
    pack("nodes.host.networks").CACHE.clear()


@pytest.fixture
def host_of(executor, pack):
    return pack("nodes.host").current()


def test_a_graph_goes_on_after_each_stage_ran_out(executor, breaking, error, api_prompt, tmp_path):
    prompt = api_prompt("LTX-2 Text to Video Distilled")
    for node in prompt.values():
        if node["class_type"] == "LTX2_Canvas":
            node["inputs"].update(width=128, height=64, frames=9)
    held = []  # as whoever shows the error holds it
    for title in IN_A_GRAPH:
        breaking.title = title
        with pytest.raises(error, match=f"{title} must fit into the memory of cpu; it ran out") as caught:
            executor.run(prompt)
        held.append(caught.value)
        assert len(breaking.in_hand) == len(held)
        assert [each() for each in breaking.in_hand] == [None] * len(held), "nothing is kept"
    breaking.title = None
    executor.run(prompt)
    (video,) = (tmp_path / "output").rglob("*.mp4")
    continued = video.read_bytes()
    video.unlink()
    executor._kept.clear()
    executor.run(prompt)
    (video,) = (tmp_path / "output").rglob("*.mp4")
    assert video.read_bytes() == continued, "as if nothing had happened"
