"""The nodes that say how a transformer runs: what they choose, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest


@pytest.fixture
def nodes(pack, host):
    return pack("nodes.acceleration")


@pytest.fixture
def recipe(pack, checkpoint):
    return pack("ltx2.recipe").TransformerRecipe.open(checkpoint)


@pytest.fixture
def attention(nodes):
    return lambda *values: nodes.SetAttention.execute(*values).args[0]


@pytest.fixture
def compiled(nodes):
    return lambda *values: nodes.CompileBlocks.execute(*values).args[0]


def test_they_say_what_their_choices_are(nodes, pack):
    attention, *others = (node.GET_SCHEMA() for node in nodes.NODES)
    assert [each.node_id for each in (attention, *others)] == [
        *("LTX2_Attention", "LTX2_Compile", "LTX2_FusedOperations", "LTX2_CudaGraphs")
    ]
    _, choice = attention.inputs
    assert choice.options == list(pack("ltx2.layers.attention_backends").BACKENDS)
    assert all(name in choice.tooltip for name in choice.options)
    assert "SageAttention: products in int8 and fp8; LOSSY; untested" in choice.tooltip


def test_a_kernel_is_another_recipe_and_its_network_runs_with_it(pack, attention, recipe):
    chosen = attention(recipe, "torch math")
    assert (recipe.attention, chosen.attention) == ("automatic", "torch math")
    assert chosen != recipe
    assert attention(chosen, "automatic") == recipe
    assert chosen.lease is recipe.lease
    kernels = {layer.kernel for layer in layers(pack, chosen.build())}
    assert kernels == {pack("ltx2.layers.attention_backends").BACKENDS["torch math"].attend}


def layers(pack, network):
    kind = pack("ltx2.layers.attention").Attention
    return [module for module in network.modules() if isinstance(module, kind)]


def test_kernels_that_do_not_run_here_are_refused(attention, recipe, error):
    with pytest.raises(error, match=r"cannot run with SageAttention: it runs on GPUs .* this is cpu\. Choose one of"):
        attention(recipe, "SageAttention")
    with pytest.raises(error, match="attention must be one of automatic"):
        attention(recipe, "fastest")
    with pytest.raises(error, match="transformer must come from an LTX-2 loader"):
        attention(3, "automatic")


# Of torch itself, where it is compiled with for the first time.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_blocks_are_another_recipe(pack, compiled, recipe):
    chosen = compiled(recipe, True)
    assert chosen != recipe
    assert compiled(chosen, False) == recipe
    assert {type(block).__name__ for block in chosen.build().blocks} == {"CompiledBlock"}
    assert {type(block).__name__ for block in recipe.build().blocks} == {"Block"}


def test_what_cannot_be_compiled_is_refused_in_whatever_order(pack, compiled, recipe, error):
    placement = pack("ltx2.placement")
    with pytest.raises(error, match="must stay on the device; got the placement 'streamed from RAM'"):
        replace(compiled(recipe, True), placement=placement.Placement(placement.RAM))
    with pytest.raises(error, match="must stay on the device; got the placement 'automatic'"):
        compiled(replace(recipe, placement=placement.Placement()), True)
    assert compiled(replace(recipe, placement=placement.Placement(placement.RESIDENT)), True).is_compiled
    with pytest.raises(error, match="got the precision 'fp8 cast': choose 'as stored'"):
        compiled(recipe.with_precision("fp8 cast"), True)
    with pytest.raises(error, match="got fused ones: disable LTX-2 Fused Operations"):
        compiled(replace(recipe, is_fused=True), True)
    with pytest.raises(error, match="transformer must come from an LTX-2 loader"):
        compiled(3, True)


def test_fused_operations_are_another_recipe_and_need_a_gpu(pack, nodes, recipe, error):
    fuse = nodes.FuseOperations.execute
    with pytest.raises(error, match="operations cannot be fused: they run on GPUs .* this is cpu"):
        fuse(recipe, True)
    fused = pack("ltx2.layers.fused")
    chosen = replace(recipe, is_fused=True)
    assert chosen != recipe
    assert fuse(chosen, False).args[0] == recipe
    taken = {module.operations for module in chosen.build().modules() if hasattr(module, "operations")}
    assert taken == {fused.FUSED}
    with pytest.raises(error, match="transformer must come from an LTX-2 loader"):
        fuse(3, True)


def test_recorded_steps_are_another_recipe_and_need_a_gpu(pack, nodes, recipe, error):
    record, placement = nodes.RecordGraphs.execute, pack("ltx2.placement")
    with pytest.raises(error, match="must have a device that torch calls cuda; got cpu: disable LTX-2 CUDA Graphs"):
        record(recipe, True)
    chosen = replace(recipe, is_recorded=True)
    assert chosen != recipe
    assert record(chosen, False).args[0] == recipe
    assert chosen.build().recorder is pack("ltx2.recording").CudaRecorder
    assert recipe.build().recorder is None
    with pytest.raises(error, match="got the placement 'streamed from disk': choose 'resident', or disable LTX-2 CUDA"):
        replace(chosen, placement=placement.Placement(placement.DISK))
    with pytest.raises(error, match="got SageAttention: choose one of automatic, .*, or disable LTX-2 CUDA"):
        replace(chosen, attention="SageAttention")
    with pytest.raises(error, match="transformer must come from an LTX-2 loader"):
        record(3, True)
