"""Stacks of LoRAs: beside the weights as merged into them, in any order, and changed on a network that is built."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.checkpoint.lora_stack import LoraStack, Restack, put_beside_layers
from ltx2.checkpoint.lora_use import LoraUse
from ltx2.checkpoint.reader import Checkpoint
from ltx2.errors import ModelFileError
from ltx2.networks.transformer.model import Transformer
from ltx2.precision.low_rank import bytes_beside

CLOSE = {"atol": 1e-5, "rtol": 0}


class CountingCheckpoint(Checkpoint):
    """A checkpoint that keeps a list of what was read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.reads = []

    def read(self, key):
        self.reads.append(key)
        return super().read(key)


@pytest.fixture
def base(case, tmp_path):
    """The base file, counting."""
    save_file(case.weights, tmp_path / "base.safetensors")
    return CountingCheckpoint.open(tmp_path / "base.safetensors")


@pytest.fixture
def built(config, base):
    """`built(stack)` is a network with it."""

    def make(stack, source=base):
        network = build(lambda: Transformer(config), TRANSFORMER, source, stack)
        put_beside_layers(network, stack)
        base.reads.clear()
        return network

    return make


def close(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def bitwise(one, other):
    """Whether two networks are equal: their tensors, and what is beside their layers."""
    tensors = [{**dict(n.named_parameters()), **dict(n.named_buffers())} for n in (one, other)]
    scales = [{name: getattr(m, "scales", None) for name, m in n.named_modules()} for n in (one, other)]
    return (
        tensors[0].keys() == tensors[1].keys()
        and scales[0] == scales[1]
        and all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
    )


def runtime(use):
    return replace(use if isinstance(use, LoraUse) else LoraUse(use), mode="runtime")


def test_beside_the_weights_as_merged_into_them(case, lora_file, stack, built, velocities):
    a, b = (lora_file("a"), LoraUse(0.7, audio=0.5)), (lora_file("b"), LoraUse(-0.4))
    merged = velocities(built(stack([a, b])))
    plain = velocities(built(LoraStack()))
    assert (merged[0] - plain[0]).abs().max() > 1e-2
    for modes in ((runtime, runtime), (runtime, lambda use: use), (lambda use: use, runtime)):
        parts = [(file, mode(use)) for (file, use), mode in zip((a, b), modes, strict=True)]
        close(velocities(built(stack(parts))), merged, **CLOSE)
        close(velocities(built(stack(parts[::-1]))), merged, **CLOSE)


def test_alpha_counts_beside_the_weights_too(lora_file, stack, built, velocities):
    alpha = {"diffusion_model.patchify_proj.alpha": torch.tensor(8.0)}
    file = lora_file("a", extra=alpha)
    beside = velocities(built(stack([(file, runtime(0.5))])))
    close(beside, velocities(built(stack([(file, 0.5)]))), **CLOSE)
    without_alpha = velocities(built(stack([(lora_file("a"), runtime(0.5))])))
    assert (beside[0] - without_alpha[0]).abs().max() > 1e-3


def test_beside_the_weights_takes_the_memory_of_the_halves_and_no_other(case, lora_file, stack, built):
    network = built(stack([(lora_file("a"), runtime(1.0))]))
    halves = [tensor for key, tensor in case.inputs.items() if key.startswith("lora_a.")]
    assert bytes_beside(network) == sum(half.nbytes for half in halves)
    plain = built(LoraStack())
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_beside_fp8_weights_where_nothing_can_be_merged(case, config, lora_file, stack, built):
    layer = "model.diffusion_model.transformer_blocks.1.attn1.to_v.weight"
    weights = {**case.weights, layer: case.weights[layer].to(torch.float8_e4m3fn)}
    use, x = (lora_file("b"), runtime(1.0)), torch.randn(3, config.video.width)
    one, other = (built(stack(parts), InMemory(weights)) for parts in ([use], []))
    layers = [network.blocks[1].video.self_attention.to_v for network in (one, other)]
    assert layers[0].weight.dtype == torch.float8_e4m3fn
    assert (layers[0](x) - layers[1](x)).abs().max() > 1e-2
    with pytest.raises(ModelFileError, match="or the LoRA's runtime mode"):
        built(stack([(use[0], 1.0)]), InMemory(weights))


def test_only_linear_layers_take_changes_beside_them(case, tmp_path, stack, built):
    # A norm's weight is a vector, which no pair fits: a layer that does not cast stands for what is to come.
    network = built(LoraStack())
    network.video.patchify = torch.nn.Bilinear(1, 1, 1)
    width = case.weights["model.diffusion_model.patchify_proj.weight"].shape
    network.video.patchify.weight = torch.nn.Parameter(torch.zeros(width))
    halves = {"lora_A": torch.ones(1, width[1]), "lora_B": torch.ones(width[0], 1)}
    save_file({f"patchify_proj.{key}.weight": half for key, half in halves.items()}, tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError, match="acts beside linear layers; video.patchify.weight is none: use the merge"):
        put_beside_layers(network, stack([(tmp_path / "x.safetensors", runtime(1.0))]))


#: Stacks on the way through which one network is taken.
A, B = "a", "b"
WAY = (
    [],
    [(A, 1.0)],
    [(A, 0.5)],
    [(A, 0.5), (B, -1.0)],
    [(B, -1.0), (A, 0.5)],
    [(B, runtime(-1.0)), (A, 0.5)],
    [(B, runtime(2.0)), (A, runtime(0.5))],
    [(B, runtime(1.0)), (A, runtime(LoraUse(1.0, video=0.25)))],
    [(A, runtime(LoraUse(1.0, blocks=(1, 1))))],
    [(A, LoraUse(1.0, audio=0.0))],
    [(A, 0.0)],
    [],
)


def test_a_network_taken_from_stack_to_stack_is_each_time_as_if_built_anew(lora_file, stack, built, base):
    files = {which: lora_file(which) for which in (A, B)}
    stacks = [stack([(files[which], use) for which, use in parts]) for parts in WAY]
    network = built(stacks[0])
    for old, new in zip(stacks, stacks[1:], strict=False):
        Restack(old, new, TRANSFORMER, lambda: base)(network)
        assert bitwise(network, built(new))


def test_only_what_differs_is_read_and_replaced(lora_file, stack, built, base):
    files = lora_file("a"), lora_file("b")
    old, new = (stack([(files[0], 1.0), (files[1], strength)]) for strength in (1.0, 0.5))
    network = built(old)
    before = dict(network.named_parameters())
    Restack(old, new, TRANSFORMER, lambda: base)(network)
    touched = sorted(new.loras[1].pairs)
    assert len(touched) == 3
    assert sorted(base.reads) == sorted(TRANSFORMER.to_theirs(name) for name in touched)
    assert sorted(name for name, p in network.named_parameters() if p is not before[name]) == touched


def test_changes_beside_the_weights_read_nothing_of_the_base_file(lora_file, stack, built, base):
    file = lora_file("a")
    network = built(stack([(file, runtime(1.0))]))
    halves = list(network.buffers())
    restack = Restack(stack([(file, runtime(1.0))]), stack([(file, runtime(0.25))]), TRANSFORMER, lambda: base)
    assert not restack.moves_weights(network)
    restack(network)
    assert base.reads == []
    assert all(a is b for a, b in zip(network.buffers(), halves, strict=True))
    assert bitwise(network, built(stack([(file, runtime(0.25))])))


def test_without_the_lora_the_weights_are_the_base_file_s_memory_again(lora_file, stack, built, base, tmp_path):
    old = stack([(lora_file("a"), 1.0)])
    network = built(old)
    Restack(old, LoraStack(), TRANSFORMER, lambda: base)(network)
    assert len(base.reads) == 15
    for name, parameter in network.named_parameters():
        assert parameter.data_ptr() == base.read(TRANSFORMER.to_theirs(name)).data_ptr(), name
