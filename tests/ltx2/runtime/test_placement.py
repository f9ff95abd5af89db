"""Which placement fits, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ltx2 import config
from ltx2.checkpoint.load import on_meta
from ltx2.checkpoint.lora_stack import LoraStack
from ltx2.config.section import parse
from ltx2.config.text import ConnectorsConfig, GemmaConfig
from ltx2.errors import LTX2Error
from ltx2.networks.text.connector import TextConnectors
from ltx2.networks.text.encoder import TextEncoder
from ltx2.networks.text.gemma import Gemma3
from ltx2.placement import AUTOMATIC, DISK, MODES, RAM, RESIDENT, Placement
from ltx2.runtime.estimates import answer_bytes, prompt_bytes
from ltx2.runtime.offload.streaming import BLOCKS
from ltx2.runtime.placement import PRESETS, Needs, choose, fits, free_ram, in_words

GB = 10**9
# The 19B transformer in bf16, at 1920x1088x121.
LARGE = Needs(rest=int(0.86 * GB), blocks=int(37.1 * GB), largest=int(0.773 * GB), num_blocks=48, computing=2 * GB)


@pytest.mark.parametrize(
    ("device", "ram", "expected"),
    [
        (None, None, RESIDENT),
        (80 * GB, 0, RESIDENT),
        (41 * GB, 0, RESIDENT),
        (40 * GB, 128 * GB, RAM),
        (16 * GB, 47 * GB, RAM),
        (16 * GB, 46 * GB, DISK),
        (16 * GB, None, DISK),
        (1 * GB, None, DISK),
    ],
)
def test_automatic_takes_the_first_that_fits(device, ram, expected):
    assert choose(Placement(), LARGE, device, ram).mode == expected


@pytest.mark.parametrize("name", PRESETS)
def test_presets_bound_what_is_free(name):
    placement = Placement(budget=PRESETS[name])
    assert choose(placement, LARGE, 80 * GB, 128 * GB).mode == RAM
    assert choose(placement, LARGE, 80 * GB, 16 * GB).mode == DISK
    half = replace(LARGE, blocks=int(18.5 * GB), largest=int(0.386 * GB))
    assert choose(placement, half, 80 * GB, 128 * GB).mode == (RESIDENT if name == "24 GB" else RAM)
    assert fits(LARGE, choose(placement, LARGE, None, None), None), "two blocks and a step at 1080p fit the smallest"


@pytest.mark.parametrize("release", ["2.0", "2.3"])
def test_the_text_encoder_fits_the_smallest_preset_for_the_longest_prompt_and_answer(release):
    """At its released size: its connectors alone are 6.3 GB in 2.3, so they must be streamed as Gemma is."""
    released = json.loads((Path(config.__file__).parent / "released" / f"{release}.json").read_text())
    connectors = parse(ConnectorsConfig, released["transformer"], "transformer")
    gemma, dtype = GemmaConfig(), torch.bfloat16
    encoder = on_meta(lambda: TextEncoder(None, Gemma3(gemma), TextConnectors(connectors))).to(dtype)
    paths = [blocks.path for blocks in BLOCKS["text encoder"].lists]
    for computing in (prompt_bytes(gemma, connectors, 1024, dtype), answer_bytes(gemma, 1500, 2048, dtype)):
        needs = Needs.of(encoder, paths, LoraStack(), computing)
        for name, budget in PRESETS.items():
            placement = choose(Placement(budget=budget), needs, 80 * GB, 128 * GB)
            assert placement.mode == RAM, f"{name}: 28 GB and more of weights"
            assert fits(needs, placement, None)
        streamed = Placement(DISK, budget=PRESETS["8 GB"])
        slots = 2 * sum(weight.nbytes for weight in encoder.gemma.model.layers[0].parameters())
        assert needs.on_device(streamed) == needs.rest + slots
        gemma_alone = Needs.of(encoder, paths[:1], LoraStack(), computing)
        assert not (fits(gemma_alone, streamed, None) and release == "2.3")


def test_what_has_proven_too_much_is_not_taken_again():
    assert choose(Placement(), LARGE, 80 * GB, 128 * GB, RESIDENT).mode == RAM
    assert choose(Placement(), LARGE, 80 * GB, 1 * GB, RESIDENT).mode == DISK
    assert choose(Placement(), LARGE, 80 * GB, 128 * GB, RAM).mode == DISK


@pytest.mark.parametrize("mode", [RESIDENT, RAM, DISK])
def test_what_the_user_chose_stays_with_fewer_slots_where_three_do_not_fit(mode):
    placement = Placement(mode, slots=3)
    assert choose(placement, LARGE, 80 * GB, 128 * GB) == placement
    assert choose(placement, LARGE, 5 * GB, 128 * GB) == replace(placement, slots=2)


def test_ram_that_does_not_hold_the_blocks_is_refused():
    with pytest.raises(
        LTX2Error, match=r"keeps 37.1 GB of blocks in RAM; 40.0 GB are free.*choose 'streamed from disk'"
    ):
        choose(Placement(RAM), LARGE, 16 * GB, 40 * GB)
    assert choose(Placement(RAM), LARGE, 16 * GB, None).mode == RAM, "nobody knows"


def test_the_estimate_adds_up():
    assert in_words(LARGE, Placement(DISK), 8 * GB) == (
        "streamed from disk: 0.86 GB of weights + 1.55 GB for 2 of 48 blocks at a time + about 2.00 GB to compute in = "
        "4.41 GB of 8.00 GB"
    )
    assert in_words(LARGE, Placement(RESIDENT), None) == (
        "resident: 0.86 GB of weights + 37.10 GB for all blocks + about 2.00 GB to compute in = 39.96 GB"
    )
    assert LARGE.total(Placement(DISK)) == pytest.approx(2.406 * GB + 2 * GB / 0.85)
    assert not fits(LARGE, Placement(RESIDENT), 40 * GB)


def test_what_a_network_needs_is_counted_as_it_will_be_kept():
    network = nn.Module()
    network.head = nn.Linear(4, 4, bias=False)
    network.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(8, 8)])
    network.blocks[0].register_buffer("beside", torch.zeros(3))
    assert Needs.of(network, ["blocks"], LoraStack(), 7) == Needs(64, 80 + 12 + 288, 288, 2, 7)
    halved = LoraStack(then=lambda name, weight: weight.half() if name.startswith("blocks.1.") else weight)
    assert Needs.of(network, ["blocks"], halved) == Needs(64, 80 + 12 + 144, 144, 2)


def test_free_ram_is_known_here():
    assert 2**20 < free_ram() < 2**50


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"mode": "gpu"},
            "placement must be one of automatic, .*, streamed from disk; got 'gpu'",
        ),
        ({"slots": 1}, "slots must be 2 or 3; got 1"),
        ({"budget": 0}, "a budget must be more than 0 bytes; got 0"),
    ],
)
def test_what_is_no_placement_is_refused(values, words):
    with pytest.raises(LTX2Error, match=words):
        Placement(**values)


def test_a_placement_is_one_short_line():
    assert [repr(Placement(mode)) for mode in MODES][0] == f"<{AUTOMATIC}>"
    assert repr(Placement(budget=8 * GB)) == "<automatic within 8.0 GB>"
    assert [Placement(mode).is_streamed for mode in MODES] == [False, False, True, True]
