"""A streamed network that ends behind its first block, as a cache of steps asks for, and then runs whole."""

from __future__ import annotations

import pytest
import torch

from ltx2.networks.transformer.passes import Pass
from ltx2.placement import DISK, RAM


@pytest.mark.parametrize("mode", [RAM, DISK])
def test_a_network_that_ends_early_and_then_runs_whole(mode, golden, in_file, step, streamed, leaves_nothing):
    case = golden("transformer_23")
    network, _ = in_file(case)
    depth = {}
    network.register_forward_pre_hook(lambda module, args, given: (args, {**given, **depth}), with_kwargs=True)

    def both():
        found = []
        for options in ({"num_blocks": 1}, {}):
            depth.clear()
            depth.update(options)
            found.append(step(case, network, (Pass(),)))
        return found

    resident = both()
    assert not torch.equal(resident[0][0], resident[1][0])
    with leaves_nothing():
        streaming = streamed(network, mode)
        for _ in range(2):
            for one, other in zip(both(), resident, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        streaming.release()
