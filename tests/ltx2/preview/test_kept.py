"""Colours kept on disk: computed once for each file, in little room."""

from __future__ import annotations

import pytest
import torch

from ltx2.preview.colours import Colours
from ltx2.preview.kept import kept_colours
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
        assert kept_colours(folder, file, compute).matrix[0, 0] == value
    changed = files("one", b"other weights")
    assert kept_colours(folder, changed, compute).matrix[0, 0] == 3
    assert sorted(path.suffix for path in folder.iterdir()) == [".safetensors"] * 3
    assert max(path.stat().st_size for path in folder.iterdir()) < 2000
