"""Noise of other nodes: it becomes the state of our precision, whatever it was made in."""

from __future__ import annotations

import pytest
import torch

from ltx2.sampling.given_noise import replaced
from ltx2.tokens import flatten_audio, flatten_video

VIDEO, AUDIO = (1, 128, 2, 2, 3), (1, 8, 9, 16)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("shape", "flatten"), [(VIDEO, flatten_video), (AUDIO, flatten_audio)])
def test_given_noise_is_in_single_precision(dtype, shape, flatten):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    drawn = torch.zeros_like(flatten(torch.zeros(shape)))
    place = 0 if shape is VIDEO else 1
    tokens = replaced(
        (drawn, None) if place == 0 else (None, drawn), made, (shape, None) if place == 0 else (None, shape)
    )[place]
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, flatten(made.float()))
