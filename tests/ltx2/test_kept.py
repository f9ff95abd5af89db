"""Small results kept on disk: bit-equal, damage computed anew, bounded."""

from __future__ import annotations

import logging
import os

import pytest
import torch

from ltx2.kept import KeptTensors, key_of

KEY = "0123456789abcdef" * 4


def cache_of(folder, max_entries=100, max_bytes=2**20):
    return KeptTensors(folder, "answer", max_entries, max_bytes)


def answer(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(1, 16, 12, generator=generator).to(torch.bfloat16) for name in ("one", "two")}


class Computed:
    """Tensors on demand; `times` counts how often they were asked for."""

    def __init__(self, seed=0):
        self.times = 0
        self.result = answer(seed)

    def __call__(self):
        self.times += 1
        return self.result


def equal(one, other):
    same = (a.dtype == b.dtype and torch.equal(a, b) for a, b in ((one[name], other[name]) for name in one))
    return one.keys() == other.keys() and all(same)


def test_a_key_depends_on_each_part():
    keys = [key_of(), key_of(1), key_of("1"), key_of(1, 2), key_of((1, 2)), key_of(torch.float32)]
    assert len(set(keys)) == len(keys)
    assert key_of(1, "a") == key_of(1, "a")
    assert all(len(key) == 64 for key in keys)


def test_the_second_time_nothing_is_computed_and_every_bit_is_the_same(tmp_path):
    compute = Computed()
    assert equal(cache_of(tmp_path / "new" / "folder").tensors(KEY, compute), answer())
    assert equal(cache_of(tmp_path / "new" / "folder").tensors(KEY, compute), answer())
    assert compute.times == 1


def test_another_key_is_another_result(tmp_path):
    cache = cache_of(tmp_path)
    cache.tensors(KEY, Computed(0))
    assert equal(cache.tensors(KEY[::-1], Computed(1)), answer(1))
    assert equal(cache.tensors(KEY, Computed(2)), answer(0))


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
    cache = cache_of(tmp_path)
    cache.tensors(KEY, Computed())
    (file,) = tmp_path.iterdir()
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    compute = Computed()
    with caplog.at_level(logging.WARNING, "ltx2"):
        assert equal(cache.tensors(KEY, compute), answer())
    assert compute.times == 1
    assert "the kept answer" in caplog.text
    assert "cannot be used" in caplog.text
    caplog.clear()
    assert equal(cache.tensors(KEY, compute), answer())
    assert compute.times == 1
    assert not caplog.records


def test_a_file_under_another_ones_name_is_not_believed(tmp_path, caplog):
    cache = cache_of(tmp_path)
    cache.tensors(KEY, Computed(0))
    (tmp_path / f"{KEY}.safetensors").rename(tmp_path / f"{KEY[::-1]}.safetensors")
    assert equal(cache.tensors(KEY[::-1], Computed(1)), answer(1))
    assert "its content is not what was written" in caplog.text


def test_a_folder_that_cannot_be_written_only_warns(tmp_path, caplog):
    (tmp_path / "taken").write_text("a file")
    with caplog.at_level(logging.WARNING, "ltx2"):
        assert equal(cache_of(tmp_path / "taken").tensors(KEY, Computed()), answer())
    assert "the answer cannot be kept in" in caplog.text


def test_what_may_not_be_kept_is_not(tmp_path):
    assert equal(cache_of(tmp_path).tensors(KEY, Computed(), lambda: False), answer())
    assert not list(tmp_path.iterdir())


def keep(cache, number, age):
    cache.tensors(f"{number:064x}", Computed(number))
    os.utime(cache.folder / f"{number:064x}.safetensors", ns=(0, 10**18 - age))


def kept(folder):
    return {int(file.stem, 16) for file in folder.glob("*.safetensors")}


def test_what_was_not_used_for_longest_goes(tmp_path):
    cache = cache_of(tmp_path, max_entries=3)
    (tmp_path / "notes.txt").write_text("not ours")
    for number in range(3):
        keep(cache, number, age=100 - number)
    cache.tensors(f"{0:064x}", Computed())  # read, so used just now
    cache.tensors(f"{3:064x}", Computed())
    assert kept(tmp_path) == {0, 2, 3}
    assert (tmp_path / "notes.txt").exists()


def test_the_size_is_bounded_and_the_newest_stays(tmp_path):
    keep(cache_of(tmp_path), 0, age=0)
    size = (tmp_path / f"{0:064x}.safetensors").stat().st_size
    cache = cache_of(tmp_path, max_bytes=2 * size)
    for number in (1, 2, 3):
        keep(cache, number, age=-number)
    assert kept(tmp_path) == {2, 3}
    cache_of(tmp_path, max_bytes=1).tensors(KEY, Computed())
    assert [file.stem for file in tmp_path.glob("*.safetensors")] == [KEY]
