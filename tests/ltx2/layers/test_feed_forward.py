"""The feed-forward network a few tokens at a time: the same as all at once."""

import torch
import torch.nn.functional as F

from ltx2.layers import feed_forward
from ltx2.layers.feed_forward import FeedForward


def network():
    torch.manual_seed(0)
    return FeedForward(8).requires_grad_(False)


def test_pieces_are_the_whole(monkeypatch):
    feed, x = network(), torch.randn(2, 7, 8)
    whole = feed(x)
    sizes = []
    feed.linear_in.register_forward_hook(lambda module, given, wide: sizes.append(wide.shape[-2]))
    monkeypatch.setattr(feed_forward, "FEED_ROWS", 4)
    pieces = feed(x)
    assert sizes == [4, 4, 4, 2]
    torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=0)


def test_it_is_gelu_between_two_layers_and_leaves_its_input():
    feed, x = network(), torch.randn(1, 5, 8)
    before = x.clone()
    expected = feed.linear_out(F.gelu(feed.linear_in(x), approximate="tanh"))
    torch.testing.assert_close(feed(x), expected, atol=1e-6, rtol=0)
    assert torch.equal(x, before)
