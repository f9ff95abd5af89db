"""What IC-LoRAs say of their reference."""

import pytest

from ltx2.checkpoint.lora_metadata import metadata_in_words, reference_scale
from ltx2.errors import ModelFileError

STATED = {
    "nothing": ({"format": "pt"}, None),
    "the older name": ({"reference_downscale_factor": "2"}, (2, 1)),
    "the newer name": ({"reference_spatial_scale_factor": "2"}, (2, 1)),
    "both names": ({"reference_spatial_scale_factor": "2", "reference_downscale_factor": "2.0"}, (2, 1)),
    "time alone": ({"reference_temporal_scale_factor": "4"}, (1, 4)),
    "both factors": ({"reference_downscale_factor": "3", "reference_temporal_scale_factor": "2"}, (3, 2)),
    "full size": ({"reference_downscale_factor": "1"}, (1, 1)),
}


@pytest.mark.parametrize("what", STATED)
def test_factors(what):
    metadata, expected = STATED[what]
    assert reference_scale(metadata, "ic.safetensors") == expected


@pytest.mark.parametrize("text", ["", "half", "0", "-2", "1.5", "nan", "inf", "[2]"])
def test_malformed_factors_are_refused(text):
    with pytest.raises(ModelFileError, match=r"ic.safetensors: its reference_downscale_factor must be a whole number"):
        reference_scale({"reference_downscale_factor": text}, "ic.safetensors")


def test_two_names_that_differ_are_refused():
    metadata = {"reference_spatial_scale_factor": "2", "reference_downscale_factor": "4"}
    with pytest.raises(ModelFileError, match="states reference_spatial_scale_factor 2 and reference_d.* 4"):
        reference_scale(metadata, "ic.safetensors")


def test_words():
    metadata = {"reference_downscale_factor": "2", "reference_temporal_scale_factor": "4", "hdr_transform": "logc3"}
    words = ["IC-LoRA: reference at 1/2 size, one frame in 4", "hdr_transform: logc3"]
    assert metadata_in_words(metadata, "ic.safetensors") == words
    assert metadata_in_words({"reference_downscale_factor": "1"}, "") == [
        "IC-LoRA: reference at full size, every frame"
    ]
    assert metadata_in_words({"format": "pt"}, "") == []
