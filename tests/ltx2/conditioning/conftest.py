"""An encoder that anyone can compute: what the tests of guides encode with."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F


class MeanEncoder:
    """Pixels (1, 3, F, H, W) to the means of what each latent covers (1, 3, f, h, w); notes the sizes it was given."""

    def __init__(self):
        self.sizes = []

    def __call__(self, pixels):
        assert pixels.shape[:2] == (1, 3)
        self.sizes.append(tuple(pixels.shape[2:]))
        self.dtype = pixels.dtype
        first, rest = pixels.float()[:, :, :1], pixels.float()[:, :, 1:]
        means = [F.avg_pool3d(first, (1, 32, 32))]
        if rest.shape[2]:
            means.append(F.avg_pool3d(rest, (8, 32, 32)))
        return torch.cat(means, 2)


@pytest.fixture
def encoder():
    return MeanEncoder()
