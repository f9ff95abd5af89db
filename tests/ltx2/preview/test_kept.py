"""Colours kept on disk: computed once for each file, damage is found, room is bounded."""

from __future__ import annotations

import os

import pytest
import torch

from ltx2.preview import kept as module
from ltx2.preview.colours import Colours
from ltx2.preview.kept import KeptColours
from ltx2.recipe import FileId


@pytest.fixture
def files(tmp_path):
    def make(name, content=b"weights"):
        path = tmp_path / name
        path.write_bytes(content)
        return FileId.of(path)

    return make


class Fit:
    """Counts how often it is asked."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return Colours(torch.full((3, 128), float(self.count)), torch.zeros(3))


def test_each_file_is_computed_once(tmp_path, files):
    folder, compute = tmp_path / "cache" / "previews", Fit()
    one, other = files("one"), files("other")
    for file, value in ((one, 1), (one, 1), (other, 2), (one, 1)):
        assert KeptColours(folder).colours(file, compute).matrix[0, 0] == value
    changed = files("one", b"other weights")
    assert KeptColours(folder).colours(changed, compute).matrix[0, 0] == 3
    assert sorted(path.suffix for path in folder.iterdir()) == [".safetensors"] * 3
    assert max(path.stat().st_size for path in folder.iterdir()) < 2000


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"no such format"])
def test_damage_is_computed_anew(tmp_path, files, caplog, content):
    kept, compute, file = KeptColours(tmp_path / "previews"), Fit(), files("one")
    kept.colours(file, compute)
    (path,) = kept.folder.iterdir()
    path.write_bytes(content)
    assert kept.colours(file, compute).matrix[0, 0] == 2
    assert kept.colours(file, compute).matrix[0, 0] == 2
    assert "cannot be used" in caplog.text


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, files, caplog):
    (tmp_path / "previews").write_text("a file")
    assert KeptColours(tmp_path / "previews").colours(files("one"), Fit()).matrix[0, 0] == 1
    assert "cannot be kept" in caplog.text


def test_the_oldest_go(tmp_path, files, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 2)
    kept, compute = KeptColours(tmp_path / "previews"), Fit()
    first, second = files("1"), files("2")
    for age, file in ((3000, first), (2000, second)):
        before = set(kept.folder.glob("*"))
        kept.colours(file, compute)
        (new,) = set(kept.folder.glob("*")) - before
        os.utime(new, (age, age))
    kept.colours(files("3"), compute)
    assert len(list(kept.folder.iterdir())) == 2
    assert kept.colours(second, compute).matrix[0, 0] == 4  # aged more
