"""A network with streamed blocks gives the bits of the resident one, and holds no more than its slots."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest
import torch
from torch import nn

from ltx2.checkpoint.lora import Lora
from ltx2.checkpoint.lora_stack import LoraStack, StackedLora, put_beside_layers
from ltx2.checkpoint.lora_use import LoraUse
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.transformer.passes import ISOLATED, Pass, Perturbation
from ltx2.placement import DISK, RAM, Placement
from ltx2.precision.choices import FP8_CAST, PRECISIONS
from ltx2.runtime.offload.streaming import BLOCKS, Streaming, rest_of

FOUR = (
    Pass(),
    Pass(prompts=(1, 1)),
    Pass(perturbation=Perturbation(frozenset({1}), frozenset({1}))),
    Pass(perturbation=ISOLATED),
)
CASES = ("transformer_20", "transformer_23")


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("mode", [RAM, DISK])
@pytest.mark.parametrize("name", CASES)
def test_guided_steps_are_those_of_the_resident_network(name, mode, golden, in_file, step, streamed, leaves_nothing):
    case = golden(name)
    network, _ = in_file(case)
    resident = step(case, network, FOUR)
    with leaves_nothing():
        streaming = streamed(network, mode)
        for _ in range(2):
            assert same(step(case, network, FOUR), resident)
        streaming.release()
    assert same(step(case, network, FOUR), resident)


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_keys_and_values_of_a_whole_run_are_the_same(mode, golden, in_file, streamed):
    case = golden("transformer_20")
    network, _ = in_file(case)
    contexts = [case.inputs[f"{name}_context"].split(1) for name in ("video", "audio")]
    with torch.no_grad():
        resident = network.text(*contexts)
        streamed(network, mode)
        found = network.text(*contexts)
    pairs = [
        (a, b)
        for one, other in zip(resident, found, strict=True)
        for ours, theirs in zip(one, other, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert len(pairs) > 4
    assert all(torch.equal(a.keys, b.keys) and torch.equal(a.values, b.values) for a, b in pairs)


def lora_of(case, file):
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for key, weight in case.weights.items():
        if weight.ndim == 2 and (".attn1.to_" in key or ".ff.net" in key or "patchify_proj" in key):
            module = key.removeprefix("model.diffusion_model.").removesuffix(".weight")
            tensors[f"diffusion_model.{module}.lora_A.weight"] = torch.randn(4, weight.shape[1], generator=generator)
            tensors[f"diffusion_model.{module}.lora_B.weight"] = torch.randn(weight.shape[0], 4, generator=generator)
    save_file(tensors, file)
    return Lora.open(file)


@pytest.mark.parametrize("mode", [RAM, DISK])
@pytest.mark.parametrize("kinds", [("merge",), ("merge", "merge"), ("runtime",), ("merge", "runtime")])
def test_loras_are_merged_on_the_way_or_stand_beside_as_on_the_resident_network(
    kinds, mode, golden, in_file, step, streamed, tmp_path
):
    case = golden("transformer_23")
    lora = lora_of(case, tmp_path / "lora.safetensors")
    uses = [LoraUse(0.1 + number, mode=kind) for number, kind in enumerate(kinds)]
    stack = LoraStack(tuple(StackedLora(number, lora, lora.transformer, use) for number, use in enumerate(uses)))
    plain, _ = in_file(case)
    network, _ = in_file(case, stack)
    put_beside_layers(network, stack)
    resident = step(case, network, FOUR)
    assert not same(resident, step(case, plain, FOUR))
    unmerged, _ = in_file(case, stack.leaving("blocks."))
    put_beside_layers(unmerged, stack)
    streamed(unmerged, mode, stack=stack)
    assert same(step(case, unmerged, FOUR), resident)


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_weights_that_are_cast_when_loaded_are_cast_on_the_way(mode, golden, in_file, step, streamed, tmp_path):
    case = golden("transformer_23")
    lora = lora_of(case, tmp_path / "lora.safetensors")
    loras = (StackedLora(0, lora, lora.transformer, LoraUse(0.5)),)
    stack = LoraStack(loras, then=PRECISIONS[FP8_CAST].transform)
    network, _ = in_file(case, stack)
    resident = step(case, network, FOUR)
    assert {tensor.dtype for tensor in network.blocks.state_dict().values()} == {torch.float32, torch.float8_e4m3fn}
    raw, _ = in_file(case, stack.leaving("blocks."))
    assert {tensor.dtype for tensor in raw.blocks.state_dict().values()} == {torch.float32}
    streaming = streamed(raw, mode, stack=stack)
    assert same(step(case, raw, FOUR), resident)
    kept = sum(tensor.nbytes for tensor in network.blocks.state_dict().values())
    assert kept <= streaming.num_bytes <= kept + 256 * len(network.blocks.state_dict())


class WatchingLane:
    """What a CPU does, and the most bytes that it had to have in slots."""

    def __init__(self, lane):
        self._lane, self.asked = lane, []

    def __getattr__(self, name):
        return getattr(self._lane, name)

    def slots(self, count, num_bytes):
        self.asked.append((count, num_bytes))
        return self._lane.slots(count, num_bytes)


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_blocks_are_fetched_once_for_all_passes_of_a_step_and_share_the_slots(mode, golden, in_file, step, streamed):
    from ltx2.runtime.offload.lanes import CpuLane

    case = golden("transformer_23")
    network, _ = in_file(case)
    lane = WatchingLane(CpuLane())
    streaming = streamed(network, mode, lane=lane)
    seen, fetched = set(), []
    finish = streaming._source.finish
    streaming._source.finish = lambda number, slot: (fetched.append((number, slot.data_ptr())), finish(number, slot))
    for block in network.blocks:
        block.register_forward_pre_hook(
            lambda module, _: seen.add(module.video.self_attention.to_q.weight.untyped_storage().data_ptr())
        )
    step(case, network, FOUR)
    assert [number for number, _ in fetched] == list(range(len(network.blocks)))
    largest = max(sum(tensor.nbytes for tensor in block.state_dict().values()) for block in network.blocks)
    assert lane.asked == [(2, streaming._source.slot_bytes)]
    assert largest <= streaming._source.slot_bytes <= 1.1 * largest + 256 * 100
    assert seen == {address for _, address in fetched}
    assert len(seen) == 2


def test_between_calls_every_tensor_is_the_mapped_one(golden, in_file, step, streamed):
    case = golden("transformer_23")
    network, _ = in_file(case)
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    streaming = streamed(network, DISK)
    step(case, network, FOUR)
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before
    assert streaming.held_bytes == 0
    assert streaming.num_bytes >= sum(t.nbytes for block in network.blocks for t in block.state_dict().values())


def test_the_rest_is_all_but_the_blocks_and_shares_its_tensors(golden, in_file):
    network, _ = in_file(golden("transformer_23"))
    rest = rest_of(network, "blocks")
    names = {name for name in network.state_dict() if not name.startswith("blocks.")}
    assert set(rest.state_dict()) == names
    moved = nn.Parameter(torch.zeros(1), requires_grad=False)
    rest.get_submodule("video")._parameters["output_table"] = moved
    assert network.video.output_table is moved
    assert type(rest).__name__ == "Transformer"


def test_an_error_in_the_middle_leaves_nothing_and_the_next_step_works(golden, in_file, step, streamed, leaves_nothing):
    class Cancelled(BaseException):
        pass

    def cancel(_module, _inputs):
        raise Cancelled

    case = golden("transformer_23")
    network, _ = in_file(case)
    resident = step(case, network, FOUR)
    streamed(network, DISK)
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    hook = network.blocks[1].register_forward_pre_hook(cancel)
    with leaves_nothing(), pytest.raises(Cancelled):
        step(case, network, FOUR)
    hook.remove()
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before
    assert same(step(case, network, FOUR), resident)


FAULTS = {
    "it is gone": lambda file: file.unlink(),
    "it holds 5,000": lambda file: os.truncate(file, 5000),
    "it has been written to": lambda file: file.write_bytes(b"x" + file.read_bytes()[1:]),
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_file_that_vanishes_is_named_and_the_process_lives(words, golden, in_file, step, streamed, leaves_nothing):
    case = golden("transformer_23")
    network, file = in_file(case)
    streamed(network, DISK)
    step(case, network, FOUR)
    FAULTS[words](file)
    with leaves_nothing(), pytest.raises(ModelFileError, match=rf"x\.safetensors must stay as it is.*{words}"):
        step(case, network, FOUR)


@pytest.mark.parametrize("words", FAULTS)
def test_a_lora_file_that_vanishes_is_named_too(words, golden, in_file, step, streamed, tmp_path):
    case = golden("transformer_23")
    file = tmp_path / "lora.safetensors"
    lora_of(case, file)
    lora = Lora.open(file)  # nothing of it has been read
    stack = LoraStack((StackedLora(0, lora, lora.transformer, LoraUse(0.5)),))
    network, _ = in_file(case, stack.leaving(""))
    streamed(network, DISK, stack=stack)
    FAULTS[words](file)
    with pytest.raises(ModelFileError, match=f"lora.safetensors must stay as it is .*{words}"):
        step(case, network, FOUR)


@pytest.mark.parametrize("words", FAULTS)
def test_a_file_that_vanishes_in_the_middle_is_named_too(words, golden, in_file, step, streamed, leaves_nothing):
    case = golden("transformer_23")
    network, file = in_file(case)
    # On a GPU the rest has left the file's map; on the CPU it is taken out here.
    for module in rest_of(network, "blocks").modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                module._parameters[name] = nn.Parameter(tensor.clone(), requires_grad=False)
    streaming = streamed(network, DISK)
    host, gate = streaming._source.host, threading.Event()
    streaming._source.host = lambda *given: (gate.wait(10), host(*given))[1]

    def break_it(_module, _inputs):
        FAULTS[words](file)
        gate.set()

    network.video.patchify.register_forward_pre_hook(break_it)
    with leaves_nothing(), pytest.raises(ModelFileError, match=rf"x\.safetensors must stay as it is.*{words}"):
        step(case, network, FOUR)
    assert gate.is_set()


def test_ram_does_not_need_the_file_any_more(golden, in_file, step, streamed):
    case = golden("transformer_23")
    network, file = in_file(case)
    resident = step(case, network, FOUR)
    streaming = streamed(network, RAM)
    file.unlink()
    assert same(step(case, network, FOUR), resident)
    assert streaming.held_bytes == streaming.num_bytes


def test_filling_ram_can_be_cancelled_and_tells_how_far_it_is(golden, in_file, streamed, leaves_nothing):
    network, _ = in_file(golden("transformer_23"))
    told = []

    def on_bytes(done, total):
        told.append((done, total))
        if done:
            raise KeyboardInterrupt

    with leaves_nothing(), pytest.raises(KeyboardInterrupt):
        streamed(network, RAM, on_bytes=on_bytes)
    assert told[0][0] == 0 < told[-1][0] < told[-1][1]
    assert type(network.blocks) is nn.ModuleList


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_a_released_network_goes_with_its_last_user(mode, golden, in_file, step, streamed):
    case = golden("transformer_23")
    network, _ = in_file(case)
    streaming = streamed(network, mode)
    step(case, network, FOUR)
    streaming.release()
    assert not hasattr(network, "streaming")
    assert streaming.__dict__.pop("_owner") is network
    gone = weakref.ref(network)
    gc.collect()
    gc.disable()
    try:
        del network
        assert gone() is None
    finally:
        gc.enable()


def test_a_device_without_a_lane_is_refused(golden, in_file):
    network, _ = in_file(golden("transformer_23"))
    with pytest.raises(LTX2Error, match="streamed to cpu and cuda devices; got meta: choose the placement 'resident'"):
        Streaming(
            network,
            BLOCKS["transformer"],
            Placement(DISK),
            torch.device("meta"),
            name="x",
            check=lambda: None,
            on_bytes=lambda done, total: None,
        )
