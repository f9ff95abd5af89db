"""Kept prompts: bit-equal, one key for all that they depend on, damage computed anew, bounded."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ltx2.checkpoint.lora_use import LoraUse
from ltx2.prompting.embedding_cache import EmbeddingCache, files_are_as_chosen, key_of
from ltx2.recipe import FileId, LoraEntry, TextEncoderRecipe

CPU = torch.device("cpu")
KEY = "0123456789abcdef" * 4


def contexts(seed: int = 0, dtype: torch.dtype = torch.bfloat16):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(1, 16, width, generator=generator).to(dtype) for width in (12, 8))


class Computed:
    """Contexts on demand; `times` counts how often they were asked for."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.bfloat16):
        self.times = 0
        self.result = contexts(seed, dtype)

    def __call__(self):
        self.times += 1
        return self.result


def equal(one, other):
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_second_time_nothing_is_computed_and_every_bit_is_the_same(tmp_path, dtype):
    compute = Computed(dtype=dtype)
    first = EmbeddingCache(tmp_path / "new" / "folder").contexts(KEY, compute)
    again = EmbeddingCache(tmp_path / "new" / "folder").contexts(KEY, compute)
    assert compute.times == 1
    assert equal(first, compute.result)
    assert equal(again, compute.result)


def test_another_key_is_another_prompt(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.contexts(KEY, Computed(0))
    assert equal(cache.contexts(KEY[::-1], Computed(1)), contexts(1))
    assert equal(cache.contexts(KEY, Computed(2)), contexts(0))


def test_the_files_hold_embeddings_only(tmp_path):
    EmbeddingCache(tmp_path).contexts(KEY, Computed())
    (file,) = tmp_path.iterdir()
    assert file.name == f"{KEY}.safetensors"
    assert load_file(file).keys() == {"video", "audio", "digest"}


def _cut(data: bytes) -> bytes:
    return data[:-5]


def _flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


DAMAGES = {
    "cut": _cut,
    "one bit": _flipped,
    "empty": lambda _: b"",
    "a web page": lambda _: b"<html>" * 50,
    "another dtype": lambda data: data.replace(b'"BF16"', b'"F16" '),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_anew_with_a_warning(tmp_path, caplog, damage):
    cache = EmbeddingCache(tmp_path)
    cache.contexts(KEY, Computed())
    (file,) = tmp_path.iterdir()
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    compute = Computed()
    with caplog.at_level(logging.WARNING, "ltx2"):
        assert equal(cache.contexts(KEY, compute), contexts())
    assert compute.times == 1
    assert "cannot be used" in caplog.text
    caplog.clear()
    assert equal(cache.contexts(KEY, compute), contexts())
    assert compute.times == 1
    assert not caplog.records


def test_a_file_under_another_ones_name_is_not_believed(tmp_path, caplog):
    cache = EmbeddingCache(tmp_path)
    cache.contexts(KEY, Computed(0))
    (tmp_path / f"{KEY}.safetensors").rename(tmp_path / f"{KEY[::-1]}.safetensors")
    assert equal(cache.contexts(KEY[::-1], Computed(1)), contexts(1))
    assert "its content is not what was written" in caplog.text


def test_a_folder_that_cannot_be_written_only_warns(tmp_path, caplog):
    (tmp_path / "taken").write_text("a file")
    with caplog.at_level(logging.WARNING, "ltx2"):
        assert equal(EmbeddingCache(tmp_path / "taken").contexts(KEY, Computed()), contexts())
    assert "cannot be kept in" in caplog.text


def test_what_the_key_does_not_name_is_not_kept(tmp_path, caplog):
    cache = EmbeddingCache(tmp_path)
    assert equal(cache.contexts(KEY, Computed(), lambda: False), contexts())
    assert not list(tmp_path.iterdir())
    assert "have changed since they were loaded; the prompt is not kept" in caplog.text


def _keep(cache: EmbeddingCache, number: int, age: int) -> None:
    cache.contexts(f"{number:064x}", Computed(number))
    os.utime(cache.folder / f"{number:064x}.safetensors", ns=(0, 10**18 - age))


def _kept(folder) -> set[int]:
    return {int(file.stem, 16) for file in folder.glob("*.safetensors")}


def test_what_was_not_used_for_longest_goes(tmp_path):
    cache = EmbeddingCache(tmp_path, max_entries=3)
    (tmp_path / "notes.txt").write_text("not ours")
    for number in range(3):
        _keep(cache, number, age=100 - number)
    cache.contexts(f"{0:064x}", Computed())  # read, so used just now
    cache.contexts(f"{3:064x}", Computed())
    assert _kept(tmp_path) == {0, 2, 3}
    assert (tmp_path / "notes.txt").exists()


def test_the_size_is_bounded_and_the_newest_stays(tmp_path):
    _keep(EmbeddingCache(tmp_path), 0, age=0)
    size = (tmp_path / f"{0:064x}.safetensors").stat().st_size
    cache = EmbeddingCache(tmp_path, max_bytes=2 * size)
    for number in (1, 2, 3):
        _keep(cache, number, age=-number)
    assert _kept(tmp_path) == {2, 3}
    EmbeddingCache(tmp_path, max_bytes=1).contexts(KEY, Computed())
    assert [file.stem for file in tmp_path.glob("*.safetensors")] == [KEY]


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
