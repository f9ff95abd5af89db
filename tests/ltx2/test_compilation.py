"""Compiled blocks give what plain ones give, without graph breaks, and compile once for all blocks."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch

from ltx2 import compilation
from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, assign, build
from ltx2.compilation import check_compiler, compile_blocks
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.layers import feed_forward
from ltx2.layers.modulation import Levels
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Block, Transformer
from ltx2.networks.transformer.passes import Pass
from ltx2.precision.packed import PackedLinear


@pytest.fixture
def case(golden):
    return golden("transformer_23")


def network_of(case):
    config = parse(TransformerConfig, case.config["transformer"], "transformer")
    return build(lambda: Transformer(config), TRANSFORMER, InMemory(case.weights))


def streams(case, network, num_tokens):
    """(video, audio) of two prompts at one noise level; the first `num_tokens` of the fixture's video."""
    found = []
    for name, count in (("video", num_tokens), ("audio", None)):
        inputs = {key.removeprefix(f"{name}_"): x for key, x in case.inputs.items() if key.startswith(name)}
        own, exchange = network.rotary(getattr(network.config, name), inputs["positions"][:1, :, :count])
        latent = inputs["latent"][:1, :count]
        levels = Levels.of(torch.full(latent.shape[:2], 0.7))
        contexts = tuple(inputs["context"].split(1))
        found.append(StreamInput(latent, torch.tensor([0.7]), levels, contexts, own, exchange))
    return found


@pytest.fixture
def counters():
    """What torch.compile counts; deprecations inside torch are torch's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch._dynamo.utils import counters

        torch._dynamo.reset()
        compilation._compiled_block.cache_clear()
        counters.clear()
        yield counters
        torch._dynamo.reset()


PASSES = (Pass(), Pass(prompts=(1, 1)))


def assert_equal(compiled, plain, given):
    for own, other in zip(compiled(*given, PASSES, 1), plain(*given, PASSES, 1), strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=0)


@torch.no_grad()
def test_compiled_blocks_are_plain_blocks(case, counters):
    if not any(map(shutil.which, compilation._COMPILERS)):
        pytest.skip("there is no C++ compiler to compile with")
    plain, compiled = network_of(case), network_of(case)
    compile_blocks(compiled)
    assert all(isinstance(block, Block) and type(block) is not Block for block in compiled.blocks)
    assert_equal(compiled, plain, streams(case, plain, 24))
    # Three parts, for all blocks and passes.
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["graph_break"]


@torch.no_grad()
def test_other_sizes_compile_once_more_and_other_weights_not_at_all(case, counters):
    """As traced, without the time that it takes to compile what was traced."""
    plain, compiled = network_of(case), network_of(case)
    compile_blocks(compiled, backend="eager")
    traced = []
    for num_tokens in (24, 20, 16, 22):
        assert_equal(compiled, plain, streams(case, plain, num_tokens))
        traced.append(counters["stats"]["unique_graphs"])
    assert traced[0] == 3
    assert traced[1] == traced[2] == traced[3] <= 8
    # What a LoRA makes of a weight is what compiled blocks use.
    name = "blocks.0.video.feed_forward.linear_out.weight"
    for network in (plain, compiled):
        assign(network, name, network.get_parameter(name) * 1.5)
    assert_equal(compiled, plain, streams(case, plain, 22))
    assert counters["stats"]["unique_graphs"] == traced[-1]
    assert not counters["graph_break"]


@torch.no_grad()
def test_more_kinds_of_calls_than_are_compiled_are_an_error(case, counters, monkeypatch):
    monkeypatch.setattr(compilation, "KINDS", 1)
    network = network_of(case)
    compile_blocks(network, backend="eager")
    network(*streams(case, network, 24), PASSES, 1)
    with pytest.raises(LTX2Error, match="compiled for at most 1 kinds of calls .* leave LTX-2 Compile out"):
        network(*streams(case, network, 20), PASSES, 1)


def test_packed_weights_are_refused(case):
    network = network_of(case)
    layer = network.get_submodule("blocks.0.video.feed_forward.linear_in")
    layer.__class__ = PackedLinear
    with pytest.raises(LTX2Error, match="must have plain weights .* 1 layers of this file are packed"):
        compile_blocks(network)


def test_a_machine_without_a_compiler_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(LTX2Error, match=r"cannot be compiled: there must be a C\+\+ compiler on the CPU"):
        check_compiler(torch.device("cpu"))
    with pytest.raises(LTX2Error, match="not known to work for this on mps"):
        check_compiler(torch.device("mps"))


@torch.no_grad()
def test_a_feed_forward_network_in_pieces_is_compiled_whole(case, counters, monkeypatch):
    monkeypatch.setattr(feed_forward, "FEED_ROWS", 7)
    plain, compiled = network_of(case), network_of(case)
    compile_blocks(compiled, backend="eager")
    assert_equal(compiled, plain, streams(case, plain, 24))
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["graph_break"]
