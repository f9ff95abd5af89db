"""The LoRA node: released files by name, its options, and what it says."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors.torch import save_file

RELEASED = {
    "ltx-2-19b-distilled-lora-384.safetensors": ("2.0", None),
    "ltx-2-19b-ic-lora-canny-control.safetensors": ("2.0", None),
    "ltx-2-19b-lora-camera-control-dolly-in.safetensors": ("2.0", None),
    "ltx-2.3-22b-distilled-lora-384-1.1.safetensors": ("2.3", None),
    "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors": ("2.3", (2, 1)),
    "ltx-2.3-22b-ic-lora-dubit-0.9.safetensors": ("2.3", None),
}
UNION = "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors"
DISTILLED = "ltx-2.3-22b-distilled-lora-384-1.1.safetensors"


@pytest.fixture
def dev(pack, tiny_models, host, tmp_path):
    """`dev("2.3")` is that release's dev transformer; the host has its files."""

    def use(release):
        for folder in ("checkpoints", "loras"):
            (tmp_path / "models" / folder).symlink_to(tiny_models(release) / folder)
        (file,) = (tmp_path / "models" / "checkpoints").glob("*dev*")
        return pack("ltx2.recipe").TransformerRecipe.open(file)

    return use


@pytest.fixture
def execute(pack):
    return lambda *args, **values: pack("nodes.lora").Lora.execute(*args, **values).result


@pytest.mark.parametrize("name", RELEASED)
def test_released_loras_by_their_names(dev, execute, name):
    release, reference = RELEASED[name]
    base = dev(release)
    assert base.reference_scale is None
    transformer, text_encoder, report = execute(base, name, 1.0)
    assert transformer.reference_scale == reference
    assert text_encoder is None
    assert report.startswith(f"{name}: rank {8 if 'distilled' in name else 4}, no alpha, strength 1, merged into")
    assert ("IC-LoRA: reference at 1/2 size" in report) == (reference == (2, 1))
    one, other = (recipe.build().state_dict() for recipe in (base, transformer))
    changed = [key for key in one if not torch.equal(one[key], other[key])]
    assert f"transformer: {len(changed)} weights (" in report


def test_the_last_lora_with_a_reference_counts(dev, execute, tmp_path):
    base = dev("2.3")
    union, *_ = execute(base, UNION, 1.0)
    assert execute(union, DISTILLED, 1.0)[0].reference_scale == (2, 1)
    names = {"reference_spatial_scale_factor": "4", "reference_temporal_scale_factor": "8"}
    assert control(tmp_path, union, names).reference_scale == (4, 8)


def control(folder, recipe, metadata):
    width = recipe.config.video.width
    module = "diffusion_model.transformer_blocks.0.attn1.to_q"
    halves = {f"{module}.lora_A.weight": torch.ones(1, width), f"{module}.lora_B.weight": torch.ones(width, 1)}
    save_file(halves, folder / "control.safetensors", metadata)
    return recipe.with_lora(folder / "control.safetensors", 1.0)


def test_a_malformed_reference_is_refused(dev, error, tmp_path):
    base = dev("2.3")
    with pytest.raises(
        error, match="control.safetensors: its reference_downscale_factor must be a whole number .* 'x'"
    ):
        control(tmp_path, base, {"reference_downscale_factor": "x"})


def test_factors_and_blocks_choose_the_weights(dev, execute):
    base = dev("2.3")
    options = {"video_strength": 0.5, "audio_strength": 0.0, "first_block": 1, "last_block": -1}
    transformer, _, report = execute(base, DISTILLED, 0.8, **options)
    one, other = (recipe.build().state_dict() for recipe in (base, transformer))
    changed = [key for key in one if not torch.equal(one[key], other[key])]
    last = base.config.num_layers - 1
    assert changed
    assert all(key.startswith("blocks.") and not key.startswith("blocks.0.") for key in changed)
    assert not any(".audio." in key for key in changed)
    assert any(".exchange." in key for key in changed)
    assert f"transformer: {len(changed)} weights (video " in report
    assert " at 0.4, cross-modal " in report
    assert f"left out by audio strength 0 and the range of blocks 1 to {last}, outside of which nothing" in report


def test_nothing_is_left_out_in_silence(dev, execute, caplog):
    base = dev("2.3")
    with caplog.at_level(logging.INFO, "ltx2"):
        *_, report = execute(base, UNION, 1.0, video_strength=0.0)
    assert "transformer: nothing is changed\ntransformer: left out by video strength 0:" in report
    assert report in caplog.text
    assert "changes nothing of this transformer: its factors and block range leave out all" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "ltx2"):
        *_, report = execute(base, UNION, 0.0)
    assert "left out by strength 0" in report
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_blocks_that_are_not_there_are_refused(dev, execute, error):
    base = dev("2.3")
    last = base.config.num_layers - 1
    with pytest.raises(error, match=rf"must be within 0 to {last}, .* got 0 to 99: use 0 to -1 for all"):
        execute(base, UNION, 1.0, last_block=99)


def test_the_mode_is_in_the_recipe(pack, dev, execute):
    base = dev("2.3")
    merged, beside = (execute(base, UNION, 1.0, mode=mode)[0] for mode in ("merge", "runtime"))
    assert merged != beside
    plain, network = base.build().state_dict(), beside.build()
    assert all(torch.equal(tensor, plain[key]) for key, tensor in network.state_dict().items())
    pairs = pack("ltx2.checkpoint.lora").Lora.open(beside.loras[0].file.path).transformer
    assert len(list(network.buffers())) - len(list(base.build().buffers())) == 2 * len(pairs)


def test_saved_workflows_keep_their_meaning(pack, dev, execute):
    """Nothing is said of what came later: the model is that of the strength alone."""
    base = dev("2.3")
    (union,) = base.with_lora(base.file.path.parent.parent / "loras" / UNION, 0.5).loras
    assert execute(base, UNION, 0.5)[0].loras == (union,)
    schema = pack("nodes.lora").Lora.define_schema()
    later = ["video_strength", "audio_strength", "cross_strength", "first_block", "last_block", "mode"]
    assert [each.id for each in schema.inputs][-6:] == later
    assert all(each.optional for each in schema.inputs[-6:])
    assert [each.id for each in schema.outputs] == ["transformer", "text_encoder", "report"]
    assert json.dumps([each.default for each in schema.inputs[-6:]]) == '[1.0, 1.0, 1.0, 0, -1, "merge"]'
