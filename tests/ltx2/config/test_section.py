"""Reading metadata strictly: every problem at once, unknown keys reported and ignored."""

import logging
from dataclasses import dataclass

import pytest

from ltx2.config.section import Section, parse
from ltx2.config.transformer import TransformerConfig
from ltx2.errors import ModelFileError


@dataclass(frozen=True)
class Example:
    size: int = 4
    ratio: float = 1.0
    kind: str = "a"
    sizes: tuple[int, ...] = ()

    @classmethod
    def from_section(cls, section: Section):
        section.expect(dropout=0.0)
        section.ignore("other_*")
        return cls(
            size=section.take("size", cls.size),
            ratio=section.take("ratio", cls.ratio),
            kind=section.take("kind", cls.kind, choices=("a", "b")),
            sizes=section.take("sizes", cls.sizes),
        )


def test_values_and_defaults():
    assert parse(Example, {"size": 8, "ratio": 2, "sizes": [1, 2]}, "example") == Example(8, 2.0, "a", (1, 2))


def test_every_problem_is_reported_at_once():
    with pytest.raises(ModelFileError) as error:
        parse(Example, {"size": "big", "kind": "c", "dropout": 0.1}, "example")
    text = str(error.value)
    assert "example.size must be int; got 'big'" in text
    assert "example.kind = 'c' is not supported (supported: 'a', 'b')" in text
    assert "example.dropout = 0.1 is not supported (supported: 0.0)" in text


def test_unknown_keys_are_reported_and_ignored(caplog):
    with caplog.at_level(logging.WARNING, "ltx2"):
        parse(Example, {"size": 8, "new_feature": 1, "other_thing": 2}, "example")
    assert "example.new_feature" in caplog.text
    assert "other_thing" not in caplog.text


def test_a_flag_is_no_number():
    with pytest.raises(ModelFileError, match="size must be int; got True"):
        parse(Example, {"size": True}, "example")


def test_children_report_to_their_parent():
    section = Section({"inner": {"odd": 1}, "list": []}, "outer")
    inner = section.child("inner")
    inner.take("needed")
    section.child("list")
    assert section.problems == ["outer.inner.needed is required and absent", "outer.list must be a JSON object; got []"]
    assert section.unknown_keys() == ["outer.inner.odd"]


@pytest.mark.parametrize("release", ["20", "23", "25"])
def test_released_transformer_configs_hold_nothing_unknown(golden, golden_json, release, caplog):
    raw = golden_json(f"config_{release}")["config"] if release != "25" else golden("transformer_25").config
    with caplog.at_level(logging.WARNING, "ltx2"):
        config = parse(TransformerConfig, raw["transformer"], "transformer")
    assert not caplog.records
    assert config.exchange_timestep_scale == 1000.0
    assert config.rope_float64


def test_what_the_code_default_differs_in_from_every_release():
    """model.md, pitfall 1: the code's default is 1, every shipped file says 1000."""
    assert parse(TransformerConfig, {}, "transformer").exchange_timestep_scale == 1.0


def test_unequal_head_counts_are_refused():
    with pytest.raises(ModelFileError, match="must be equal; got 32 and 16"):
        parse(TransformerConfig, {"audio_num_attention_heads": 16}, "transformer")


@pytest.mark.parametrize("value", [0, -3, [2, 0], [[1], []], []])
def test_counts_must_be_positive(value):
    default = () if isinstance(value, list) else 4
    section = Section({"count": value}, "example")
    assert section.take("count", default, least=1) == default
    assert len(section.problems) == 1
    assert section.problems[0].startswith("example.count must be ")
    assert f"at least 1; got {value!r}" in section.problems[0]


@pytest.mark.parametrize("value", [1, 7, [1, 2], [[1, 3], [5]]])
def test_counts_that_hold(value):
    section = Section({"count": value}, "example")
    section.take("count", () if isinstance(value, list) else 4, least=1)
    assert section.problems == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_numbers_that_no_float_holds(value):
    with pytest.raises(ModelFileError, match="example.ratio must be float"):
        parse(Example, {"ratio": value}, "example")


def test_the_file_is_named():
    with pytest.raises(
        ModelFileError, match=r"^the config of a\.safetensors cannot be used:\n  - example.size must be"
    ):
        parse(Example, {"size": "big"}, "example", "a.safetensors")
    with pytest.raises(
        ModelFileError, match=r"a\.safetensors cannot be used:\n  - example must be a JSON object; got \["
    ):
        parse(Example, [1, 2], "example", "a.safetensors")
