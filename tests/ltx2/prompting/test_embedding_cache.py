"""Kept prompts: bit-equal, one key for all that they depend on, and none of a changed encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ltx2.checkpoint.lora_use import LoraUse
from ltx2.prompting.embedding_cache import files_are_as_chosen, kept_contexts, key_of
from ltx2.recipe import FileId, LoraEntry, TextEncoderRecipe

CPU = torch.device("cpu")
KEY = "0123456789abcdef" * 4


class Computed:
    """Contexts on demand; `times` counts how often they were asked for."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16):
        self.times = 0
        generator = torch.Generator().manual_seed(0)
        self.result = tuple(torch.randn(1, 16, width, generator=generator).to(dtype) for width in (12, 8))

    def __call__(self):
        self.times += 1
        return self.result


def equal(one, other):
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_second_time_nothing_is_computed_and_every_bit_is_the_same(recipe, tmp_path, dtype):
    compute = Computed(dtype=dtype)
    first, again = (kept_contexts(tmp_path / "new" / "folder", KEY, recipe, compute) for _ in range(2))
    assert compute.times == 1
    assert equal(first, compute.result)
    assert equal(again, compute.result)


def test_the_files_hold_embeddings_only(recipe, tmp_path):
    kept_contexts(tmp_path, KEY, recipe, Computed())
    (file,) = tmp_path.iterdir()
    assert file.name == f"{KEY}.safetensors"
    assert load_file(file).keys() == {"video", "audio", "digest"}


def test_what_the_key_does_not_name_is_not_kept(recipe, tmp_path, caplog):
    changed, compute = replace(recipe, checkpoint=FileId(recipe.checkpoint.path, ())), Computed()
    assert equal(kept_contexts(tmp_path, KEY, changed, compute), compute.result)
    assert not list(tmp_path.iterdir())
    assert "have changed since they were loaded; the prompt is not kept" in caplog.text


@pytest.fixture(scope="module")
def recipe(tiny_models):
    models = tiny_models("2.3")
    gemma = next(folder for folder in (models / "text_encoders").iterdir() if folder.is_dir())
    return TextEncoderRecipe.open(gemma, next((models / "checkpoints").glob("*dev*")))


def test_the_key_depends_on_everything_that_changes_contexts(recipe, tmp_path):
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(b"one")
    before = FileId.of(lora)
    recipes = [
        recipe,
        replace(recipe, loras=(LoraEntry(before, LoraUse(1.0)),)),
        replace(recipe, loras=(LoraEntry(before, LoraUse(0.5)),)),
        replace(recipe, loras=(LoraEntry(before, LoraUse(1.0, video=0.5)),)),
        replace(recipe, file=FileId(recipe.file.path, (*recipe.file.stamp, ("new", 1, 1)))),
        replace(recipe, checkpoint=FileId(recipe.checkpoint.path, ())),
    ]
    lora.write_bytes(b"other")
    recipes.append(replace(recipe, loras=(LoraEntry(FileId.of(lora), LoraUse(1.0)),)))
    assert files_are_as_chosen(recipes[-1])
    assert not files_are_as_chosen(recipes[1])
    keys = [key_of(one, "a fox", CPU, torch.float32) for one in recipes]
    keys += [
        key_of(recipe, "a cat", CPU, torch.float32),
        key_of(recipe, "a fox", CPU, torch.bfloat16),
        key_of(recipe, "a fox", torch.device("cuda"), torch.float32),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(recipe.without_lease(), " a fox\n", CPU, torch.float32) == keys[0]
