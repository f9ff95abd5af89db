"""S6: what decoding 1920x1088 takes, counted on the meta device at released sizes: no work twice, and flat memory."""

from __future__ import annotations

import pytest
import torch

CLIPS = {frames: (frames, 1088, 1920) for frames in (121, 241)}
LIMITS = {"2.0": 4.0e9, "2.3": 4.5e9}
GROWTH = 1.05


@pytest.mark.parametrize("release", LIMITS)
def test_decoding_is_exact_work_in_flat_memory(stages, release):
    whole, streamed = (stages.decoding_flops(release, CLIPS[121], tiling) for tiling in (None, stages.Tiling()))
    assert streamed == whole
    short, long = (stages.decoding(release, size, stages.Tiling(), torch.bfloat16) for size in CLIPS.values())
    assert short.counted <= LIMITS[release]
    assert long.counted <= GROWTH * short.counted


@pytest.mark.parametrize("release", LIMITS)
def test_encoding_is_flat_as_well(stages, release):
    short, long = (stages.encoding(release, size, stages.Tiling(), torch.bfloat16) for size in CLIPS.values())
    assert short.counted <= LIMITS[release]
    assert long.counted <= GROWTH * short.counted
