"""LTX-2 Placement: what it makes of recipes, and that samples and prompts are the same wherever the weights are."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest
import torch

AUTOMATIC, RESIDENT, RAM, DISK = "automatic", "resident", "streamed from RAM", "streamed from disk"
SIGMAS = torch.tensor([1.0, 0.6, 0.0])
BOTH_DEVICES = ["cpu", "cuda:0"]


@pytest.fixture
def place(pack):
    """`place(transformer=..., placement=...)` is what the node gives: (transformer, text encoder)."""
    defaults = {"placement": "automatic", "memory": "all that is free"}
    return lambda **values: pack("nodes.placement").SetPlacement.execute(**{**defaults, **values}).args


@pytest.fixture
def networks(pack):
    networks = pack("nodes.host.networks")
    yield networks
    networks.CACHE.clear()


@pytest.fixture
def sample(distilled, networks):
    """`sample(placement)` is what the distilled tiny model samples, placed so: (video, audio) tensors."""
    run, given = distilled
    guider = given["guider"]

    def of(placement, **changes):
        transformer = replace(guider.transformer, placement=placement, **changes)
        clip = {"samples": torch.zeros(1, 128, 2, 2, 2)}, {"samples": torch.zeros(1, 8, 9, 16)}
        (rate,) = run("SetFrameRate", latent=clip[0], frame_rate=24.0).args
        made = run(
            "Sample",
            guider=replace(guider, transformer=transformer),
            seed=3,
            sigmas=SIGMAS,
            solver="euler",
            video=rate,
            audio=clip[1],
        ).args
        return [one["samples"] for one in made]

    return of


def resident_of(networks, kind="transformer"):
    return networks.CACHE._residents[kind].placed


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_recipes_differ_by_their_placement_alone(pack, distilled, place):
    run, given = distilled
    transformer = given["guider"].transformer
    placed, nothing = place(transformer=transformer, placement=DISK, memory="12 GB", slots=3)
    assert nothing is None
    Placement = pack("ltx2.placement").Placement
    assert placed.placement == Placement(DISK, 3, int(12 * 2**30 * 0.92))
    assert placed != transformer
    assert replace(placed, placement=None) == transformer
    assert placed.lease is transformer.lease
    assert transformer.placement is None, "left to the host where there is no such node"


def test_what_the_node_refuses(distilled, place, error):
    transformer = distilled[1]["guider"].transformer
    with pytest.raises(error, match="nothing is connected: connect a transformer"):
        place(placement=DISK)
    with pytest.raises(error, match="memory must be one of all that is free, 8 GB, .*; got '6 GB'"):
        place(transformer=transformer, memory="6 GB")
    with pytest.raises(error, match="placement must be one of automatic, .*; got 'cpu'"):
        place(transformer=transformer, placement="cpu")
    with pytest.raises(error, match="slots must be 2 or 3; got 4"):
        place(transformer=transformer, slots=4)
    with pytest.raises(error, match="text_encoder must come from an LTX-2 loader"):
        place(text_encoder=transformer)


@pytest.mark.parametrize("device_name", BOTH_DEVICES, indirect=True)
@pytest.mark.parametrize("mode", [RESIDENT, RAM, DISK, AUTOMATIC])
def test_a_sample_is_the_same_wherever_the_weights_are(pack, sample, networks, mode, caplog):
    Placement = pack("ltx2.placement").Placement
    expected = sample(None)
    assert resident_of(networks).placement is None
    with caplog.at_level(logging.INFO, "ltx2"):
        assert same(sample(Placement(mode)), expected)
    placed = resident_of(networks)
    decided = RESIDENT if mode == AUTOMATIC else mode  # on the CPU memory is no limit
    assert placed.placement.mode == decided
    assert (placed.streaming is not None) == (mode in (RAM, DISK))
    said = [record.getMessage() for record in caplog.records if "to compute in" in record.getMessage()]
    assert len(said) == 1
    assert f"distilled-1.1.safetensors> {decided}: 0." in said[0]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LTX-2 blocks")]


def test_a_budget_that_is_too_small_streams_and_is_told_to_the_sampler(pack, sample, networks, caplog):
    Placement = pack("ltx2.placement").Placement
    expected = sample(None)
    with caplog.at_level(logging.INFO, "ltx2"):
        assert same(sample(Placement(budget=10_000)), expected)
    assert resident_of(networks).placement.mode in (RAM, DISK)
    assert "this is more than there is" in caplog.text
    assert resident_of(networks).left(None) == 0
    assert resident_of(networks).left(50_000_000_000) == 0


def test_a_budget_counts_what_slots_hold_before_weights_are_cast(pack, sample, networks):
    Placement = pack("ltx2.placement").Placement
    budget = 50_000_000
    sample(Placement(DISK, budget=budget), precision="fp8 cast")
    placed = resident_of(networks)
    assert placed.slot_bytes > 2 * placed.streaming.num_bytes / placed.needs.num_blocks
    assert 0 <= budget - placed.needs.rest - placed.slot_bytes - placed.left(None) < 2


@pytest.mark.parametrize("mode", [AUTOMATIC, RESIDENT])
@pytest.mark.parametrize("precision", ["as stored", "fp8 cast"])
def test_a_resident_network_is_built_once_and_is_that_of_the_recipe(
    pack, networks, distilled, tiny_models, monkeypatch, caplog, mode, precision
):
    (file,) = tiny_models("2.3").glob("loras/*distilled*")
    recipe = distilled[1]["guider"].transformer.with_lora(file, 0.5).with_precision(precision)
    expected = recipe.build().state_dict()
    built, build = [], type(recipe).build
    monkeypatch.setattr(type(recipe), "build", lambda self, **given: built.append(1) or build(self, **given))
    placed = replace(recipe, placement=pack("ltx2.placement").Placement(mode))
    caplog.clear()
    with caplog.at_level("INFO", logger="ltx2"):
        (network,) = networks.borrow(placed)
    assert built == [1]
    assert resident_of(networks).placement.mode == RESIDENT
    told = [message for message in caplog.messages if message.startswith(f"{recipe.file.path.name}: ")]
    assert told == [f"{recipe.file.path.name}: {pack('ltx2.precision.summary').in_words(network)}"]
    found = network.state_dict()
    assert found.keys() == expected.keys()
    assert all(found[name].dtype == one.dtype and same([found[name]], [one]) for name, one in expected.items())
    mapped = replace(recipe, loras=()).build().blocks.state_dict()
    assert any(not torch.equal(mapped[name].float(), one.float()) for name, one in network.blocks.state_dict().items())


@pytest.mark.parametrize("device_name", BOTH_DEVICES, indirect=True)
def test_loras_are_the_same_and_a_new_strength_makes_a_streamed_network_anew(
    pack, sample, networks, distilled, tiny_models
):
    Placement = pack("ltx2.placement").Placement
    (file,) = tiny_models("2.3").glob("loras/*distilled*")
    transformer = distilled[1]["guider"].transformer
    found = {}
    for mode in (None, Placement(DISK), Placement(RAM), Placement(RESIDENT)):
        for strength, kind in ((0.5, "merge"), (1.0, "merge"), (1.0, "runtime"), (0.3, "runtime")):
            loras = transformer.with_lora(file, strength, mode=kind).loras
            found.setdefault((strength, kind), []).append(sample(mode, loras=loras))
    for results in found.values():
        assert all(same(results[0], other) for other in results[1:])
    assert not same(found[0.5, "merge"][0], found[1.0, "merge"][0])


@pytest.mark.parametrize("device_name", BOTH_DEVICES, indirect=True)
@pytest.mark.parametrize("mode", [RAM, DISK])
def test_a_prompt_is_the_same_with_a_streamed_text_encoder(pack, distilled, place, networks, mode, tiny_models):
    run, _ = distilled
    names = {"checkpoint": "ltx-2.3-22b-distilled-1.1.safetensors"}
    (folder,) = (path.name for path in tiny_models("2.3").glob("text_encoders/*"))
    (encoder,) = run("LoadTextEncoder", text_encoder=folder, **names).args
    _, placed = place(text_encoder=encoder, placement=mode)
    (expected,) = run("EncodePrompt", text_encoder=encoder, text="Rain.", cache=False).args
    (found,) = run("EncodePrompt", text_encoder=placed, text="Rain.", cache=False).args
    held = resident_of(networks, "text encoder").held.state_dict()
    assert not [name for name in held if ".layers." in name or ".blocks." in name], "nor those of the connectors"
    assert [name for name in held if name.startswith("connectors.projection.")]
    assert torch.equal(found.video, expected.video)
    assert torch.equal(found.audio, expected.audio)
    told = {"text": "Rain.", "system_prompt": "", "max_tokens": 4, "seed": 1, "temperature": 0.0, "enabled": True}
    written = [run("EnhancePrompt", text_encoder=one, **told).args[0] for one in (encoder, placed)]
    assert written[0] == written[1]


def test_another_prompt_cache_entry_is_not_needed_for_another_placement(pack, distilled, place, tiny_models):
    key_of = pack("ltx2.prompting.embedding_cache").key_of
    run, _ = distilled
    (folder,) = (path.name for path in tiny_models("2.3").glob("text_encoders/*"))
    (encoder,) = run("LoadTextEncoder", text_encoder=folder, checkpoint="ltx-2.3-22b-distilled-1.1.safetensors").args
    _, placed = place(text_encoder=encoder, placement=DISK)
    keys = [key_of(one, "Rain.", torch.device("cpu"), torch.float32) for one in (encoder, placed)]
    assert keys[0] == keys[1]


def break_blocks(monkeypatch, pack, times):
    """So many forward calls of the transformer run out of memory in their second block."""
    left = [times]
    Block = pack("ltx2.networks.transformer.model").Block
    forward = Block.forward

    def failing(self, *args, **options):
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, *args, **options)

    monkeypatch.setattr(Block, "forward", failing)
    return left


def test_automatic_takes_less_where_memory_runs_out(pack, sample, networks, monkeypatch, caplog):
    Placement = pack("ltx2.placement").Placement
    expected = sample(None)
    for times, decided in ((1, (RAM, DISK)), (2, (DISK,))):
        networks.CACHE.clear()
        left = break_blocks(monkeypatch, pack, times)
        assert same(sample(Placement()), expected)
        assert left == [0]
        assert resident_of(networks).placement.mode in decided
        assert "memory ran out: it is placed in less" in caplog.text
    # It stays so for the next run.
    assert same(sample(Placement()), expected)
    assert resident_of(networks).placement.mode == DISK


@pytest.mark.parametrize("placement", [None, RESIDENT, RAM, DISK])
def test_nothing_else_falls_back_and_the_error_names_the_cure(pack, sample, networks, monkeypatch, error, placement):
    Placement = pack("ltx2.placement").Placement
    chosen = placement and Placement(placement)
    break_blocks(monkeypatch, pack, 1)
    with pytest.raises(error, match="sample must fit into the memory of cpu; it ran out.*with LTX-2 Placement"):
        sample(chosen)
    assert (resident_of(networks).placement or chosen) == chosen
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LTX-2 blocks")]


def test_larger_work_moves_an_automatic_network_off_the_device(pack, host, networks, distilled, monkeypatch):
    """A GPU whose free memory is counted, played by the processor."""
    Placement = pack("ltx2.placement").Placement
    current = pack("nodes.host").current()
    recipe = replace(distilled[1]["guider"].transformer, placement=Placement())
    monkeypatch.setattr(current, "free_memory", lambda device=None: 50_000_000)
    networks.borrow(recipe, activation_bytes=1_000_000)
    assert resident_of(networks).placement.mode == RESIDENT
    networks.borrow(recipe, activation_bytes=42_000_000)
    assert resident_of(networks).placement.mode in (RAM, DISK)
    networks.borrow(recipe, activation_bytes=1_000_000)
    assert resident_of(networks).placement.mode in (RAM, DISK), "it does not come and go"
    assert networks.left(50_000_000, recipe) == 50_000_000 - resident_of(networks).slot_bytes


class ShortOfRam:
    """A way to the CPU with RAM for so many blocks; `made` are the buffers that it gave."""

    def __init__(self, lanes, enough_for, error):
        self._lane, self._lanes = lanes.CpuLane(), lanes
        self._left, self._error, self.made = enough_for, error, []

    def __getattr__(self, name):
        return getattr(self._lane, name)

    def host_buffer(self, num_bytes):
        if not self._left:
            raise self._error
        self._left -= 1
        self.made.append(self._lanes.HostBuffer(num_bytes, pinned=False))
        return self.made[-1]


@pytest.fixture
def short_of_ram(pack, monkeypatch):
    """`short_of_ram(enough_for, error)`: until the test ends there is RAM for no more blocks than that."""
    lanes = pack("ltx2.runtime.offload.lanes")

    def short(enough_for, error):
        lane = ShortOfRam(lanes, enough_for, error)
        monkeypatch.setitem(lanes.LANES, "cpu", lambda _: lane)
        return lane

    return short


NO_RAM = [
    MemoryError("40.00 GB of RAM cannot be had: Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to..."),
]


@pytest.mark.parametrize("ran_out", NO_RAM, ids=lambda ran_out: type(ran_out).__name__)
def test_automatic_goes_on_from_disk_where_ram_runs_out(pack, sample, networks, short_of_ram, caplog, ran_out):
    Placement = pack("ltx2.placement").Placement
    expected = sample(None)
    lane = short_of_ram(1, ran_out)
    assert same(sample(Placement(budget=10_000)), expected)
    assert resident_of(networks).placement.mode == DISK
    assert resident_of(networks).streaming.held_bytes == 0
    assert "RAM ran out while its blocks were brought there: they are streamed from disk" in caplog.text
    assert [buffer.bytes.nbytes for buffer in lane.made] == [0], "what was filled is given back"


@pytest.mark.parametrize("ran_out", NO_RAM, ids=lambda ran_out: type(ran_out).__name__)
def test_who_chose_ram_is_told_what_helps_where_it_runs_out(pack, sample, networks, short_of_ram, error, ran_out):
    Placement = pack("ltx2.placement").Placement
    lane = short_of_ram(1, ran_out)
    with pytest.raises(error, match="keeps 0.0 GB of blocks in RAM; it ran out .*: choose 'streamed from disk', or"):
        sample(Placement(RAM))
    assert [buffer.bytes.nbytes for buffer in lane.made] == [0]
    assert "transformer" not in networks.CACHE._residents
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LTX-2 blocks")]


def test_other_errors_while_ram_is_filled_stay_what_they_are(pack, sample, short_of_ram):
    Placement = pack("ltx2.placement").Placement
    lane = short_of_ram(1, RuntimeError("mat1 and mat2"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        sample(Placement(budget=10_000))
    assert [buffer.bytes.nbytes for buffer in lane.made] == [0]
