"""LoRAs against the reference's merge: strengths, alpha, names, stacks, and what is refused."""

from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import save_file

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build, on_meta
from ltx2.checkpoint.lora import Lora
from ltx2.checkpoint.lora_use import LoraUse
from ltx2.errors import ModelFileError
from ltx2.networks.transformer.model import Transformer
from ltx2.recipe import TransformerRecipe

MERGED = {"atol": 1e-6, "rtol": 0}
VELOCITY = {"atol": 2e-5, "rtol": 0}
BASE = "model.diffusion_model."


@pytest.fixture
def merged(case, config, stack):
    """`merged([(file, strength), ...])` is a network with those LoRAs."""

    def make(parts, weights=None):
        return build(lambda: Transformer(config), TRANSFORMER, InMemory(weights or case.weights), stack(parts))

    return make


def by_file_key(network):
    return {TRANSFORMER.to_theirs(name): tensor for name, tensor in network.state_dict().items()}


def expected_weights(case, variant):
    return {key[len(variant) + 1 :]: w for key, w in case.outputs.items() if key.startswith(f"{variant}.model.")}


@pytest.fixture
def check_velocities(case, velocities):
    """`check_velocities(network, variant)` compares with the reference's velocities of that variant."""

    def check(network, variant):
        for name, velocity in zip(("video", "audio"), velocities(network), strict=True):
            torch.testing.assert_close(velocity, case.outputs[f"{variant}.{name}_velocity"], **VELOCITY)

    return check


def test_without_a_lora(merged, check_velocities):
    check_velocities(merged([]), "base")


def test_one_lora(case, lora_file, merged, check_velocities):
    network = merged([(lora_file("a"), case.params["strength_a"])])
    weights, expected = by_file_key(network), expected_weights(case, "merged_a")
    assert len(expected) == 15
    for key, tensor in expected.items():
        torch.testing.assert_close(weights[key], tensor, **MERGED)
    for key in weights.keys() - expected.keys():
        assert torch.equal(weights[key], case.weights[key]), f"{key} is none of the LoRA's"
    check_velocities(network, "merged_a")


def test_two_loras_one_of_them_negative_in_either_order(case, lora_file, merged, check_velocities):
    parts = [(lora_file("a"), case.params["strength_a"]), (lora_file("b"), case.params["strength_b"])]
    assert case.params["strength_b"] < 0
    one, other = merged(parts), merged(parts[::-1])
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], **MERGED)
    check_velocities(one, "merged_ab")
    check_velocities(other, "merged_ab")


def test_bf16_weights_are_merged_as_the_reference_does(case, lora_file, merged):
    weights = {key: tensor.bfloat16() for key, tensor in case.weights.items()}
    network = merged([(lora_file("a"), case.params["strength_a"])], weights)
    expected = expected_weights(case, "merged_a_bf16")
    assert len(expected) == 3
    for key, tensor in expected.items():
        assert torch.equal(by_file_key(network)[key], tensor)


RENAMED = {
    "bare": lambda key: key.removeprefix("diffusion_model."),
    "as in the checkpoint": lambda key: f"model.{key}",
    "as in diffusers": lambda key: key.replace("diffusion_model.", "transformer."),
    "down and up": lambda key: key.replace("lora_A", "lora_down").replace("lora_B", "lora_up"),
    "named adapter": lambda key: key.replace(".weight", ".default.weight"),
}


@pytest.mark.parametrize("style", RENAMED)
def test_names_of_other_trainers(case, lora_file, merged, style):
    network = merged([(lora_file("a", RENAMED[style]), case.params["strength_a"])])
    for key, tensor in expected_weights(case, "merged_a").items():
        torch.testing.assert_close(by_file_key(network)[key], tensor, **MERGED)


def test_alpha_divided_by_the_rank_scales_the_change(case, lora_file, merged):
    key = f"{BASE}patchify_proj.weight"
    file = lora_file("a", extra={"diffusion_model.patchify_proj.alpha": torch.tensor(8.0)})  # of rank 4
    half = case.params["strength_a"] / 2
    scaled = by_file_key(merged([(file, half)]))[key]
    torch.testing.assert_close(scaled, expected_weights(case, "merged_a")[key], **MERGED)


def test_strength_zero_changes_nothing(case, lora_file, merged):
    network = merged([(lora_file("a"), 0.0)])
    assert all(
        tensor is not None and torch.equal(tensor, case.weights[k]) for k, tensor in by_file_key(network).items()
    )


def test_untouched_weights_are_the_file_s_own_memory(case, lora_file, merged):
    network = merged([(lora_file("b"), 1.0)])
    owned = [k for k, t in by_file_key(network).items() if t.data_ptr() != case.weights[k].data_ptr()]
    assert sorted(owned) == [
        f"{BASE}{name}.weight"
        for name in ("proj_out", "transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn1.to_v")
    ]


def shapes_of(config):
    return {name: tuple(t.shape) for name, t in on_meta(lambda: Transformer(config)).state_dict().items()}


def test_a_lora_of_another_model_is_refused(lora_file, tmp_path):
    with pytest.raises(
        ModelFileError, match="changes nothing of an LTX-2 model: none of its 15 weights.*another model"
    ):
        Lora.open(lora_file("a", lambda key: key.replace("diffusion_model.", "diffusion_model.joint_blocks.")))


def test_a_lora_of_another_width_is_refused(lora_file, tiny_models):
    dev = next(tiny_models("2.3").glob("checkpoints/*dev*"))
    with pytest.raises(ModelFileError, match=r"fits nothing of this transformer: all of its 15 weights .* another rel"):
        TransformerRecipe.open(dev).with_lora(lora_file("a"), 1.0)


def test_a_lora_that_fits_partly_says_how_much(config, lora_file, caplog):
    strangers = {
        "diffusion_model.transformer_blocks.9.attn1.to_q.lora_A.weight": torch.ones(4, 32),
        "diffusion_model.transformer_blocks.9.attn1.to_q.lora_B.weight": torch.ones(32, 4),
        "diffusion_model.other.lora_A.weight": torch.ones(4, 32),
        "diffusion_model.other.lora_B.weight": torch.ones(32, 4),
    }
    lora = Lora.open(lora_file("a", extra=strangers))
    with caplog.at_level(logging.WARNING, "ltx2"):
        lora.check(shapes_of(config), lora.transformer, "transformer", LoraUse())
    assert "15 of its 17 weights fit this transformer" in caplog.text


def test_a_whole_lora_warns_of_nothing(config, lora_file, caplog):
    lora = Lora.open(lora_file("a"))
    with caplog.at_level(logging.WARNING, "ltx2"):
        lora.check(shapes_of(config), lora.transformer, "transformer", LoraUse())
    assert not caplog.records


def test_a_checkpoint_is_no_lora(tiny_models):
    dev = next(tiny_models("2.3").glob("checkpoints/*dev*"))
    with pytest.raises(ModelFileError, match="must be a LoRA; it is a transformer, "):
        Lora.open(dev)


def test_half_a_pair_is_refused(lora_file):
    file = lora_file("b", extra={"diffusion_model.proj_in.lora_A.weight": torch.ones(2, 32)})
    with pytest.raises(ModelFileError, match="is incomplete: diffusion_model.proj_in has only"):
        Lora.open(file)


def test_halves_of_different_rank_are_refused(lora_file):
    strange = {
        "diffusion_model.x.lora_A.weight": torch.ones(2, 32),
        "diffusion_model.x.lora_B.weight": torch.ones(8, 3),
    }
    with pytest.raises(ModelFileError, match="is damaged: the two halves of diffusion_model.x differ in rank"):
        Lora.open(lora_file("b", extra=strange))


def test_nothing_is_merged_into_fp8_weights(lora_file, stack):
    message = "bf16, fp16 and fp32 weights; video.unpatchify.weight is .*float8.* or the LoRA's runtime mode"
    with pytest.raises(ModelFileError, match=message):
        stack([(lora_file("b"), 1.0)])("video.unpatchify.weight", torch.zeros(16, 32).to(torch.float8_e4m3fn))


def test_the_base_file_stays_as_it_was(tiny_models):
    models = tiny_models("2.3")
    dev, lora = next(models.glob("checkpoints/*dev*")), next(models.glob("loras/*distilled*"))
    before = dev.read_bytes()
    base, recipe = TransformerRecipe.open(dev), TransformerRecipe.open(dev).with_lora(lora, 1.0)
    changed = recipe.build().video.modulation.linear_rows.weight
    assert dev.read_bytes() == before
    plain = base.build().video.modulation.linear_rows.weight
    assert 0.05 < (changed - plain).float().std() / plain.float().std() < 1
    assert base != recipe


def test_connectors_take_their_part_of_a_lora(tiny_models, tmp_path):
    from ltx2.recipe import TextEncoderRecipe, with_lora

    models = tiny_models("2.3")
    dev, gemma = next(models.glob("checkpoints/*dev*")), next(models.glob("text_encoders/*"))
    module = "diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"
    width = TextEncoderRecipe.open(gemma, dev).connectors.video_dim
    halves = {f"{module}.lora_A.weight": torch.ones(1, width), f"{module}.lora_B.weight": torch.ones(width, 1)}
    save_file(halves, tmp_path / "connector.safetensors")
    base = TextEncoderRecipe.open(gemma, dev)
    recipe = base.with_lora(tmp_path / "connector.safetensors", 0.25)
    one, other = (r.build().connectors.video.blocks[0].attention.to_q.weight.float() for r in (base, recipe))
    torch.testing.assert_close(other - one, torch.full((width, width), 0.25), atol=5e-3, rtol=0)
    assert base.with_lora(next(models.glob("loras/*distilled*")), 1.0) == base
    # Without a text encoder to change it would do nothing, which is worth an error.
    transformer = TransformerRecipe.open(dev)
    *both, words = with_lora(transformer, base, tmp_path / "connector.safetensors", 0.25)
    assert both == [transformer, recipe]
    assert "text connectors: 1 weight (video 1 at 0.25)" in words
    with pytest.raises(ModelFileError, match="changes only the text connectors: connect the text encoder"):
        with_lora(transformer, None, tmp_path / "connector.safetensors", 0.25)


PART = "diffusion_model.patchify_proj."
DAMAGED = {
    "an alpha of many numbers": (
        {f"{PART}alpha": torch.ones(2, 3)},
        r"alpha must be one number; its shape is \(2, 3\)",
    ),
    "a scalar half": (
        {f"{PART}lora_A.weight": torch.tensor(1.0)},
        r"lora_A.weight must be a matrix; its shape is \(\)",
    ),
    "a half by two names": ({f"{PART}lora_down.weight": torch.ones(2, 16)}, "are one half of one change"),
    "a change by two names": (
        {
            "transformer.patchify_proj.lora_A.weight": torch.ones(2, 16),
            "transformer.patchify_proj.lora_B.weight": torch.ones(32, 2),
        },
        "both change one weight",
    ),
    "rank zero": ({f"{PART}lora_A.weight": torch.ones(0, 16)}, r"must be a matrix; its shape is \(0, 16\)"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_parts_are_refused(lora_file, what):
    tensors, message = DAMAGED[what]
    with pytest.raises(ModelFileError, match=f"lora_a.safetensors is damaged: .*{message}; get the file anew"):
        Lora.open(lora_file("a", extra=tensors))


def test_an_alpha_of_nothing_is_left_over(lora_file):
    lora = Lora.open(lora_file("a", extra={"diffusion_model.x.alpha": torch.tensor(1.0)}))
    assert lora.leftover == ["diffusion_model.x.alpha"]
    assert len(lora.transformer) == 15


@pytest.mark.parametrize("key", ["diffusion_model.x.dora_scale", "diffusion_model.x.lora_magnitude_vector.weight"])
def test_a_dora_is_refused(lora_file, key):
    with pytest.raises(ModelFileError, match="must be a plain LoRA; it is a DoRA"):
        Lora.open(lora_file("a", extra={key: torch.ones(4)}))
