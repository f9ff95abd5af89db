"""Recipes with LoRAs: values that say which network is meant, and whether one can be made of another."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ltx2.checkpoint.lora_use import LoraUse
from ltx2.errors import LTX2Error
from ltx2.recipe import TransformerRecipe, VideoVAERecipe


@pytest.fixture(scope="module")
def files(tiny_models):
    models = tiny_models("2.3")
    return {name: next(models.glob(pattern)) for name, pattern in FILES.items()}


FILES = {
    "dev": "checkpoints/*dev*",
    "other": "checkpoints/*22b-distilled*",
    "distilled": "loras/*distilled*",
    "union": "loras/*union*",
}


@pytest.fixture(scope="module")
def base(files):
    return TransformerRecipe.open(files["dev"])


def test_equal_stacks_are_equal_recipes_and_every_option_counts(base, files):
    recipe = base.with_lora(files["union"], 0.5)
    assert recipe == base.with_lora(files["union"], 0.5)
    assert hash(recipe) == hash(base.with_lora(files["union"], 0.5))
    options = ({"video": 0.5}, {"audio": 0.5}, {"cross": 0.5}, {"blocks": (0, 0)}, {"mode": "runtime"})
    others = [base.with_lora(files["union"], 0.5, **each) for each in options]
    assert len({recipe, base, base.with_lora(files["union"], 0.6), *others}) == 8
    both = base.with_lora(files["union"], 1.0).with_lora(files["distilled"], 1.0)
    assert both != base.with_lora(files["distilled"], 1.0).with_lora(files["union"], 1.0)
    assert repr(both).endswith("+ 2 LoRA>")


def test_a_range_of_all_blocks_is_the_whole(base, files):
    last = base.config.num_layers - 1
    whole = base.with_lora(files["union"], 1.0)
    assert base.with_lora(files["union"], 1.0, blocks=(0, -1)) == whole
    assert base.with_lora(files["union"], 1.0, blocks=(0, last)) == whole
    assert base.with_lora(files["union"], 1.0, blocks=(last, -1)).loras[0].use == LoraUse(blocks=(last, last))
    with pytest.raises(LTX2Error, match=f"within 0 to {last}"):
        base.with_lora(files["union"], 1.0, blocks=(0, last + 1))


def test_the_reference_is_that_of_the_last_lora_which_states_one(base, files):
    assert base.reference_scale is None
    assert base.with_lora(files["distilled"], 1.0).reference_scale is None
    assert base.with_lora(files["union"], 1.0).with_lora(files["distilled"], 1.0).reference_scale == (2, 1)
    assert base.with_lora(files["union"], 0.0).reference_scale == (2, 1)


def test_the_reference_is_known_without_the_file(base, files, tmp_path):
    file = tmp_path / "union.safetensors"
    shutil.copy(files["union"], file)
    recipe = base.with_lora(file, 1.0)
    file.unlink()
    assert recipe.reference_scale == (2, 1)


def test_a_network_is_changed_only_where_loras_alone_differ(base, files, tmp_path):
    file = tmp_path / "union.safetensors"
    shutil.copy(files["union"], file)
    refined = base.with_lora(file, 1.0)
    assert refined.restack(base) is not None
    assert base.restack(refined) is not None
    assert base.with_lora(file, 0.5, mode="runtime").restack(refined) is not None
    assert refined.restack(replace(base, lease=None)) is not None
    assert refined.restack(TransformerRecipe.open(files["other"])) is None
    assert refined.restack(replace(base, config=replace(base.config, norm_eps=1e-3))) is None
    assert refined.restack(VideoVAERecipe.open(files["dev"])) is None
    shutil.copy(files["distilled"], file)
    assert base.restack(refined) is None, "nobody knows any more what the file did"


def test_recipes_of_which_one_is_compiled_and_one_has_loras_beside_are_compared_all_the_same(base, files):
    beside, compiled = base.with_lora(files["union"], 0.5, mode="runtime"), replace(base, is_compiled=True)
    assert beside.restack(compiled) is None
    assert compiled.restack(beside) is None
    assert compiled.with_lora(files["union"], 0.5).restack(compiled) is not None
