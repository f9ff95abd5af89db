"""LoRAs on weights in fewer bits: cast after they were merged, and beside weights that nothing can be merged into."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.checkpoint.lora_stack import LoraStack
from ltx2.networks.transformer.model import Transformer
from ltx2.precision.choices import FP8_CAST, cast_to_fp8
from ltx2.precision.low_rank import LowRankLinear
from ltx2.precision.packed import PackedLinear
from ltx2.recipe import TransformerRecipe, with_lora

CLOSE = {"atol": 1e-5, "rtol": 0}


def test_the_reference_casts_to_fp8_after_it_has_merged(case, config, lora_file, stack, velocities):
    bf16 = {key: weight.to(torch.bfloat16) for key, weight in case.weights.items()}
    merged = stack([(lora_file("a"), case.params["strength_a"])])
    for weights, loras, name in ((case.weights, LoraStack(), "fp8_cast"), (bf16, merged, "fp8_cast_merged_a")):
        transform = replace(loras, then=cast_to_fp8)
        network = build(lambda: Transformer(config), TRANSFORMER, InMemory(weights), transform)
        found = velocities(network)
        for modality, velocity in zip(("video", "audio"), found, strict=True):
            torch.testing.assert_close(velocity, case.outputs[f"{name}.{modality}_velocity"], **CLOSE)


@pytest.fixture
def models(tiny_models, tmp_path):
    """(a tiny checkpoint whose query projections are fp8 with scales, the same in fp32 numbers, a LoRA of all)."""
    folder = tiny_models("2.3")
    checkpoint = next((folder / "checkpoints").glob("*dev*"))
    with safe_open(checkpoint, "pt") as file:
        metadata = file.metadata()
    plain, packed = load_file(checkpoint), load_file(checkpoint)
    for key in [key for key in plain if "transformer_blocks." in key and key.endswith(".to_q.weight")]:
        packed[key], packed[f"{key}_scale"] = (plain[key].float() * 100).to(torch.float8_e4m3fn), torch.tensor(0.01)
        plain[key] = packed[key].float() * 0.01
    save_file(packed, tmp_path / "packed.safetensors", metadata)
    save_file(plain, tmp_path / "plain.safetensors", metadata)
    return tmp_path / "packed.safetensors", tmp_path / "plain.safetensors", next((folder / "loras").glob("*distilled*"))


def test_what_cannot_be_merged_runs_beside_whatever_the_mode(models):
    packed, plain, lora = models
    networks = [TransformerRecipe.open(file).with_lora(lora, 0.5).build() for file in (packed, plain)]
    x = torch.randn(3, 160)
    for path in ("self_attention.to_q", "self_attention.to_k", "feed_forward.linear_in"):
        one, other = (network.blocks[1].video.get_submodule(path) for network in networks)
        assert isinstance(one, LowRankLinear) == isinstance(one, PackedLinear) == path.endswith("to_q")
        assert not isinstance(other, LowRankLinear)
        torch.testing.assert_close(one(x), other(x), **CLOSE)


def test_the_report_says_what_is_not_merged(models):
    packed, plain, lora = models
    reports = [with_lora(TransformerRecipe.open(file), None, lora, 0.5)[2] for file in (packed, plain)]
    assert "transformer: 12 changes beside weights that are packed, not merged" in reports[0]
    assert "packed" not in reports[1]


def test_a_network_with_packed_weights_changes_its_loras(models):
    packed, _, lora = models
    base = TransformerRecipe.open(packed)
    recipes = [base, base.with_lora(lora, 0.5), base.with_lora(lora, -1.0), base.with_lora(lora, 1.0, mode="runtime")]
    network, built, x = base.build(), base, torch.randn(3, 160)
    for recipe in (*recipes[1:], base):
        recipe.restack(built)(network)
        built, fresh = recipe, recipe.build()
        for path in ("to_q", "to_k"):
            one, other = (each.blocks[0].video.self_attention.get_submodule(path) for each in (network, fresh))
            assert type(one) is type(other)
            assert torch.equal(one(x), other(x))


def test_loras_change_on_a_cast_network_as_when_it_is_built(models, tiny_models):
    lora = models[2]
    base = TransformerRecipe.open(next((tiny_models("2.3") / "checkpoints").glob("*dev*"))).with_precision(FP8_CAST)
    changed, network = base.with_lora(lora, 0.5), base.build()
    changed.restack(base)(network)
    fresh = changed.build().state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in network.state_dict().items())
    assert network.blocks[0].video.self_attention.to_q.weight.dtype == torch.float8_e4m3fn
