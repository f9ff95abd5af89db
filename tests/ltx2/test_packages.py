"""Packages that cannot be imported say what they are for."""

from __future__ import annotations

import sys

import pytest

from ltx2.errors import LTX2Error
from ltx2.packages import Package


@pytest.mark.parametrize("error", ["ImportError('no library')", "AttributeError('np.bool')", "RuntimeError('version')"])
def test_a_broken_package_is_named_whatever_its_import_raises(tmp_path, monkeypatch, error):
    (tmp_path / "sentencepiece.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sentencepiece", raising=False)
    with pytest.raises(LTX2Error, match="pip install --force-reinstall sentencepiece"):
        Package("sentencepiece").SentencePieceProcessor  # noqa: B018


def test_what_a_package_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError):
        Package("einops").no_such_thing  # noqa: B018
