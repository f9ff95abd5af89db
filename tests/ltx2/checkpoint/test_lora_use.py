"""How a LoRA is put on a network: which weights belong to which modality, ranges of blocks, what is refused."""

import math

import pytest

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import on_meta
from ltx2.checkpoint.lora_use import LoraUse, block_of, block_range, modality_of
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.networks.transformer.model import Transformer

MODALITIES = {
    "blocks.3.video.self_attention.to_q.weight": "video",
    "blocks.3.audio.feed_forward.linear_in.weight": "audio",
    "blocks.3.exchange.audio_to_video.to_q.weight": "cross-modal",
    "video.patchify.weight": "video",
    "audio.modulation.linear_rows.weight": "audio",
    "video.exchange_gate.linear_rows.weight": "cross-modal",
    "audio.exchange_modulation.linear_1.weight": "cross-modal",
    "projection.audio.weight": "audio",
    "projection.both.weight": "shared",
}


@pytest.mark.parametrize("name", MODALITIES)
def test_modalities(name):
    assert modality_of(name) == MODALITIES[name]


def test_every_weight_of_the_transformer_has_a_modality_as_the_checkpoint_names_it(golden):
    config = parse(TransformerConfig, golden("lora_merge").config["transformer"], "transformer")
    names = on_meta(lambda: Transformer(config)).state_dict()
    found = {}
    for name in names:
        found.setdefault(modality_of(name), []).append(TRANSFORMER.to_theirs(name))
    assert found.keys() == {"video", "audio", "cross-modal"}
    assert all(
        "audio_to_video" in n or "video_to_audio" in n or "a2v" in n or "av_ca" in n for n in found["cross-modal"]
    )
    assert all("audio_" in name and "video_" not in name for name in found["audio"])
    assert not any("audio" in name or "av_ca" in name for name in found["video"])


def test_factors_multiply_the_strength():
    use = LoraUse(0.5, video=2.0, audio=-1.0, cross=0.0)
    scales = {name: use.scale(name) for name in MODALITIES}
    assert {scales[name] for name, modality in MODALITIES.items() if modality == "video"} == {1.0}
    assert {scales[name] for name, modality in MODALITIES.items() if modality == "audio"} == {-0.5}
    assert {scales[name] for name, modality in MODALITIES.items() if modality == "cross-modal"} == {0.0}
    assert scales["projection.both.weight"] == 0.5


def test_a_range_of_blocks_leaves_out_the_others_and_what_is_in_no_block():
    use = LoraUse(0.5, blocks=(2, 10))
    blocks = [f"blocks.{number}.video.self_attention.to_q.weight" for number in range(12)]
    assert [block_of(name) for name in blocks] == list(range(12))
    assert [use.scale(name) for name in blocks] == [0, 0, *[0.5] * 9, 0]
    for name in ("video.patchify.weight", "video.blocks.2.attention.to_q.weight", "projection.both.weight"):
        assert block_of(name) is None
        assert use.scale(name) == 0


def test_ranges():
    assert block_range(0, -1, 48) is None
    assert block_range(0, 47, 48) is None
    assert block_range(3, -1, 48) == (3, 47)
    assert block_range(0, 0, 48) == (0, 0)


@pytest.mark.parametrize(("first", "last"), [(0, 48), (5, 4), (48, -1), (-1, 3), (0, -2)])
def test_ranges_of_no_blocks_are_refused(first, last):
    with pytest.raises(LTX2Error, match=rf"within 0 to 47.*; got {first} to {47 if last == -1 else last}: use 0 to -1"):
        block_range(first, last, 48)


@pytest.mark.parametrize("name", ["strength", "video", "audio", "cross"])
def test_numbers_must_be_finite(name):
    with pytest.raises(LTX2Error, match=f"a LoRA's {name} must be a finite number; got nan"):
        LoraUse(**{name: math.nan})


def test_unknown_modes_are_refused():
    with pytest.raises(LTX2Error, match="must be one of merge, runtime; got 'later'"):
        LoraUse(mode="later")
