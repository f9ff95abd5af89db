"""What using a layer's weights costs beside its input and output."""

from __future__ import annotations

import torch

#: What released files hold; recipes do not say it.
STORED = torch.bfloat16


def copied(num_weights: int, dtype: torch.dtype) -> int:
    """`num_weights` where a layer has to copy them to compute in `dtype`, 0 where it uses them as they are."""
    return 0 if dtype == STORED else num_weights
